"""Batches that start by the clock. Imports: batches and what lies below it."""
