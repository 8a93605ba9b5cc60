"""Guarded HTTP: allow-list, address checks, streaming download. Imports: domain."""
