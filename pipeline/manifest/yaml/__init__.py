"""YAML and JSON text as bounded plain values with the position of every error. Imports: errors only."""
