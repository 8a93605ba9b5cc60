"""The only package that speaks to S3: objects and the write-ahead journal. Imports: domain."""
