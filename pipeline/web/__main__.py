"""`python -m pipeline.web`: the web process of the Procfile."""

from __future__ import annotations

import os

from pipeline.settings import load
from pipeline.shutdown import shutdown_requested
from pipeline.web import create_app
from pipeline.web.server import listen_address, serve


def main() -> None:
    """Serve the app until SIGTERM or SIGINT."""
    settings = load()
    # Without a token the app authenticates nobody, so only this machine may connect.
    host = "0.0.0.0" if settings.api_token else "127.0.0.1"  # noqa: S104
    with shutdown_requested() as shutdown:
        app = create_app(settings, shutdown)
        serve(app, shutdown, threads=settings.web_threads, listen=listen_address(os.environ, host))


if __name__ == "__main__":
    main()
