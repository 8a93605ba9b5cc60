"""`python -m pipeline.web`: the web process of the Procfile."""

from __future__ import annotations

import os

from pipeline.errors import exit_in_words
from pipeline.settings import load
from pipeline.shutdown import shutdown_requested
from pipeline.web import create_app
from pipeline.web.server import listen_address, serve


def main() -> None:
    """Serve the app until SIGTERM or SIGINT."""
    with exit_in_words():
        settings = load()
        with shutdown_requested() as shutdown:
            app = create_app(settings, shutdown)
            serve(app, shutdown, threads=settings.web_threads, listen=listen_address(os.environ))


if __name__ == "__main__":
    main()
