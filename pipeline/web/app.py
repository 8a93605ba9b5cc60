"""The Flask app: its parts, its clients, its answers to errors."""

from __future__ import annotations

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from pipeline import log
from pipeline.service import Service
from pipeline.settings import Settings, load
from pipeline.web import health, receiver

MOST_BODY_BYTES = 8 * 1024 * 1024


def create_app(settings: Settings | None = None) -> Flask:
    """The app, wired to the servers of `settings` (default: as the environment has them); nothing is sent yet."""
    log.configure()
    settings = settings or load()
    service = Service.from_settings(settings)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    app.register_blueprint(receiver.blueprint(service, settings.secret.get_secret_value()))
    app.register_blueprint(health.blueprint(service))
    app.register_error_handler(HTTPException, _problem)
    return app


def _problem(error: HTTPException) -> Response:
    """Errors are problem documents (RFC 9457)."""
    answer = jsonify({"title": error.name, "status": error.code, "detail": error.description})
    answer.status_code = error.code or 500
    answer.content_type = "application/problem+json"
    return answer
