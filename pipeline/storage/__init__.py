"""The only package that sends requests to S3: objects, multipart uploads, the write-ahead journal. Imports: domain."""
