"""Helpers that several test suites share: processes, servers with faults, a browser."""
