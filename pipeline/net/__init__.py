"""Guarded HTTP: allow-list, address checks when a socket opens, streaming download. Imports: domain."""
