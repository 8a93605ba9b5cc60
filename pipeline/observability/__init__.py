"""Logging and tracing. Imports: domain."""
