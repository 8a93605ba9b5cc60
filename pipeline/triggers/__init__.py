"""Batches that start themselves: by the clock, and by what arrives on S3."""
