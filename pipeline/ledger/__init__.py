"""The only package that knows Redis keys: the state of batches, items, runs and the account. Imports: domain."""
