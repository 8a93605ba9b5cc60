"""Helpers of the tests: processes, servers with faults, fixtures that several suites share."""
