"""Manifests: text, rows or images become a validated batch; every error has its line.

Imports: domain, storage, the schema of models in wiro.
"""
