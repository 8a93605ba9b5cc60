"""The lower bound of a receiver: a Flask route that does nothing, on the same server."""

from __future__ import annotations

import os
from threading import Event

from flask import Flask

from pipeline.settings import Settings
from pipeline.web.server import listen_address, serve

app = Flask(__name__)


@app.post("/callbacks/wiro/<token>")
def callback(token: str) -> str:
    """Return 200."""
    return ""


if __name__ == "__main__":
    serve(app, Event(), threads=Settings().web_threads, listen=listen_address(os.environ))
