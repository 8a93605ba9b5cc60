"""Batches that S3 objects start. Imports: batches, manifest, ledger, storage, net, domain."""
