"""The HTTP API under `/api/v1`, and its description. Imports: batches and below."""
