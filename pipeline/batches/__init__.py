"""The application: submission, control, review, recovery and the job queue.

Imports: ledger, storage, manifest, domain."""
