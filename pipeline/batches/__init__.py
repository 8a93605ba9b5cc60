"""The application: submission, control, reviews, recovery and the job queue.

Imports: ledger, storage, manifest, domain."""
