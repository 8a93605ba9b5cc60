"""The static page `index.html` beside the results. Pure. Imports: domain."""
