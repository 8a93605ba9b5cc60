"""The gallery: the static page `index.html` beside the results. Pure. Imports: domain."""
