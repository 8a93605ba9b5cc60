"""The Flask app: routes, clients of Redis and S3, authentication."""

from __future__ import annotations

from functools import partial
from threading import Event

import structlog
from flask import Blueprint, Flask
from pydantic import SecretStr

from pipeline.batches.job_queue import JobQueue
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.batches.service import Service
from pipeline.domain.api_tokens import Tokens
from pipeline.domain.callback_tokens import CallbackSigner
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.observability import logging
from pipeline.settings import Settings, load
from pipeline.storage.s3 import Storage
from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.web import error_responses, health, metrics, page_transfer, path_ids, request_log
from pipeline.web.api import batch_events, batches, docs_page, image_upload, outputs_zip
from pipeline.web.api.endpoints import Endpoints
from pipeline.web.callbacks import live_check, receiver, s3_events
from pipeline.web.callbacks.buffered_counter import BufferedCounter
from pipeline.web.callbacks.callback_writer import CallbackWriter
from pipeline.web.callbacks.request_paths import RequestPaths
from pipeline.web.dashboard import home
from pipeline.web.security import headers, login
from pipeline.web.security.authentication import Authenticator
from pipeline.web.security.failure_limit import FailureLimit
from pipeline.web.security.trusted_proxies import TrustedProxies

log = structlog.get_logger()

MAX_BODY_BYTES = 8 * 1024 * 1024
_CALLBACK_TIMEOUT_S = 4.0
"""Time limit of Redis for a callback. The vendor waits for the response, and sends the callback again after a 503."""


def create_app(settings: Settings | None = None, shutdown: Event | None = None) -> Flask:
    """Return the app on the servers of `settings` (default: from the environment). Raises IncompatibleSchema.

    `shutdown`: event streams end when it is set.
    """
    logging.configure()
    settings = settings or load()
    service = Service.connect(settings)
    _check_schema(service)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]  # as Flask's docs
    app.wsgi_app = RequestPaths(app.wsgi_app, settings.public_url)  # type: ignore[method-assign]
    request_log.log_requests(app)
    headers.add_security_headers(app, settings, skip=receiver.NAME)
    page_transfer.compress_and_revalidate(app)
    error_responses.handle_errors(app)
    authenticator = _authenticator(service)
    authenticator.add_to(app, settings)
    path_ids.check_path_ids(app)
    app.register_blueprint(_callbacks(service))
    app.register_blueprint(_s3_events(service, authenticator))
    app.register_blueprint(_health(settings))
    app.register_blueprint(_metrics(service))
    app.register_blueprint(login.blueprint(authenticator, service.ledger.sign_in_codes))
    endpoints = _endpoints(service, shutdown or Event())
    app.register_blueprint(endpoints.routes)
    app.register_blueprint(docs_page.blueprint(endpoints))
    home.add_to(app, service)
    return app


def _check_schema(service: Service) -> None:
    try:
        service.ledger.check_schema()
    except Unreachable as error:
        # /readyz repeats the check.
        log.warning("schema_not_checked", error=str(error))


def _authenticator(service: Service) -> Authenticator:
    ledger, settings = service.ledger, service.settings
    failures = FailureLimit(ledger.login_attempts, max_waiting=max(1, settings.web_threads // 4))
    return Authenticator(_tokens(settings.api_token), ledger.sessions, failures)


def _tokens(setting: SecretStr | None) -> Tokens:
    return Tokens(setting.get_secret_value() if setting else "")


def _callbacks(service: Service) -> Blueprint:
    secret, redis_url = service.settings.secret.get_secret_value(), service.settings.redis_url
    writer = CallbackWriter(
        Ledger.connect(redis_url, socket_timeout_s=_CALLBACK_TIMEOUT_S).runs,
        JobQueue(redis_url, socket_timeout_s=_CALLBACK_TIMEOUT_S),
    )
    counter = BufferedCounter(service.ledger.counters.count_callbacks)
    record_check = partial(live_check.record, service.ledger.live_checks)
    signer = CallbackSigner(secret) if secret else None
    return receiver.blueprint(signer, writer.record, record_check, counter.add)


def _s3_events(service: Service, authenticator: Authenticator) -> Blueprint:
    settings = service.settings
    tokens = [authenticator.tokens, _tokens(settings.events_token)]
    rule_loader = RuleLoader(settings.triggers, settings.output)
    return s3_events.blueprint(tokens, authenticator.failures, rule_loader, Dispatcher.of(service))


def _metrics(service: Service) -> Blueprint:
    ledger = service.ledger
    return metrics.blueprint(ledger.counters, ledger.account, QueueMonitor(service.settings.redis_url))


def _health(settings: Settings) -> Blueprint:
    """Return the routes of health, with clients of their own: short time limits, no retries."""
    ledger = Ledger.connect(settings.redis_url, socket_timeout_s=health.CHECK_TIMEOUT_S)
    storage = Storage(settings.s3_endpoint, timeout_s=health.CHECK_TIMEOUT_S)
    return health.blueprint({"redis": ledger.check_ready, "s3": partial(_check_s3, storage, settings.output)})


def _check_s3(storage: Storage, output: str | None) -> None:
    """Raise StorageError if the bucket of PIPELINE_OUTPUT cannot be read.

    One GET of an object that does not exist: unlike a HEAD, it shows a missing bucket and a missing s3:ListBucket.
    """
    if output:
        storage.get(f"{output}.dailies-check")


def _endpoints(service: Service, shutdown: Event) -> Endpoints:
    endpoints = Endpoints(Blueprint("api", __name__))
    batches.add_to(endpoints, service)
    max_streams = max(1, service.settings.web_threads // 2)
    batch_events.add_to(endpoints, service.ledger.batches, max_streams, shutdown)
    image_upload.add_to(endpoints, service)
    outputs_zip.add_to(endpoints, service, max(1, service.settings.web_threads // 8))
    return endpoints
