"""Checks of all dependencies and settings with real requests. Each module checks one dependency.

`run.py` runs the checks, `findings.py` is what they return. Imports: everything but cli, web, jobs and local."""
