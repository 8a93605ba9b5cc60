"""The only package that knows the Redis keys of batches, items and runs. Imports: domain."""
