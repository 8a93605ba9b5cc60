"""A stand-in for Wiro that speaks real HTTP, with faults on request. Imports nothing of the service but errors."""
