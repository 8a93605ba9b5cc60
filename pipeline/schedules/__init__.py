"""Batches that start by the clock. Imports: batches, manifest, ledger, storage, domain."""
