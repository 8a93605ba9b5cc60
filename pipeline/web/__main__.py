"""`python -m pipeline.web`: the web process of the Procfile."""

from __future__ import annotations

import os
import sys

from pipeline.errors import DailiesError
from pipeline.settings import load
from pipeline.shutdown import shutdown_requested
from pipeline.web import create_app
from pipeline.web.server import listen_address, serve


def main() -> None:
    """Serve the app until SIGTERM or SIGINT."""
    try:
        settings = load()
        with shutdown_requested() as shutdown:
            app = create_app(settings, shutdown)
            # Without a token the app authenticates no request, so only this machine may connect.
            host = "0.0.0.0" if settings.api_token else "127.0.0.1"  # noqa: S104
            serve(app, shutdown, threads=settings.web_threads, listen=listen_address(os.environ, host))
    except DailiesError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
