"""The Flask app: its parts, its clients, its gate."""

from __future__ import annotations

from flask import Blueprint, Flask

from pipeline import log
from pipeline.service import Service
from pipeline.settings import Settings, load
from pipeline.web import (
    api,
    auth,
    dashboard,
    docs,
    events,
    headers,
    health,
    inputs,
    login,
    metrics,
    problems,
    push,
    receiver,
    request_log,
)
from pipeline.web.operations import Operations

MOST_BODY_BYTES = 8 * 1024 * 1024


def create_app(settings: Settings | None = None) -> Flask:
    """The app, wired to the servers of `settings` (default: as the environment has them); nothing is sent yet."""
    log.configure()
    settings = settings or load()
    service = Service.from_settings(settings)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    request_log.log_requests(app)
    headers.harden(app, settings)
    problems.answer_errors(app)
    tokens = auth.protect(app, settings)
    answer_callbacks = receiver.Receiver(app.wsgi_app, service, settings.secret.get_secret_value())
    app.wsgi_app = answer_callbacks  # type: ignore[method-assign]  # how Flask wants it wrapped
    app.register_blueprint(push.blueprint(service, tokens))
    app.register_blueprint(health.blueprint(service))
    app.register_blueprint(metrics.blueprint(service))
    app.register_blueprint(login.blueprint(tokens, service.ledger))
    operations = _operations(service)
    app.register_blueprint(operations.routes)
    app.register_blueprint(docs.blueprint(operations))
    dashboard.add_to(app, service)
    return app


def _operations(service: Service) -> Operations:
    operations = Operations(Blueprint("api", __name__))
    api.add_to(operations, service)
    events.add_to(operations, service)
    inputs.add_to(operations, service)
    return operations
