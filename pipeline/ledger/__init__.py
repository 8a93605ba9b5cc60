"""The only package that uses Redis keys: the state of batches, items, runs and the account. Imports: domain."""
