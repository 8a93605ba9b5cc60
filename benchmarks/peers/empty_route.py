"""The least that a receiver can be: a Flask route that does nothing."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.post("/callbacks/wiro/<token>")
def callback(token: str) -> str:
    """Answer 200."""
    return ""
