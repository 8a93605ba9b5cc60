"""`POST /events/s3`: object events from S3 servers, SNS and EventBridge.

The sender has a token of PIPELINE_API_TOKEN or PIPELINE_EVENTS_TOKEN: as bearer token, in `x-api-key`, or as the
password of basic authentication, which the URL of an SNS subscription may contain. Instead, SNS may sign the message if
a rule names its topic. The response is 200 when the message is handled. After any other, the sender repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import (
    BadRequest,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Unauthorized,
)

from pipeline.domain.api_tokens import Tokens
from pipeline.observability.line_limit import LineLimit
from pipeline.triggers import sns
from pipeline.triggers.dispatch import Dispatcher, EventOutcome
from pipeline.triggers.events import Kind, NotAnEvent, as_object, events_of
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.web.security.authentication import checks_access_itself
from pipeline.web.security.failure_limit import FailureLimit

log = structlog.get_logger()

MAX_EVENT_BYTES = 1024 * 1024
_unsigned = LineLimit()
"""Log lines about messages that every client can send."""


def blueprint(
    tokens: Sequence[Tokens], failures: FailureLimit, loader: RuleLoader, dispatcher: Dispatcher
) -> Blueprint:
    """Return the route. A sender needs one of `tokens`, or the signature of SNS. `failures` limits wrong tokens."""
    routes = Blueprint("s3_events", __name__)
    verifier = sns.Verifier(sns.fetch)

    @routes.post("/events/s3")
    @checks_access_itself
    def s3() -> Response:
        rules = _push_rules(loader)
        has_token = any(some.holder(text) for some in tokens for text in _credentials())
        if not has_token and "x-amz-sns-message-type" not in request.headers:
            _refuse("Send the token of PIPELINE_EVENTS_TOKEN as a bearer token or in `x-api-key`.", failures)
        message = _message()
        if not has_token and (error := _signature_error(message, rules, verifier)):
            _refuse(error, failures)
        if message.get("Type") == "SubscriptionConfirmation":
            _confirm(message, verifier)
        elif message.get("Type") != "UnsubscribeConfirmation":
            _handle(message, loader, dispatcher)
        return Response(status=200)

    return routes


def _refuse(reason: str, failures: FailureLimit) -> NoReturn:
    """Raise Unauthorized for a request without a valid token; TooManyRequests after too many wrong tokens."""
    if wrong := _credentials():
        failures.refuse(wrong[0], reason)
    raise Unauthorized(reason)


def _credentials() -> list[str]:
    """Return what of the request may be a token."""
    whole = request.headers.get("Authorization", "")
    password = request.authorization.password if request.authorization else None
    texts = [request.headers.get("x-api-key", ""), whole, whole.partition(" ")[2].strip(), password or ""]
    return [text for text in texts if text]


def _message() -> Mapping[str, Any]:
    request.max_content_length = MAX_EVENT_BYTES
    try:
        return as_object(request.get_data(cache=False))
    except NotAnEvent as error:
        raise BadRequest(str(error)) from None
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(f"The message is too long. The limit is {MAX_EVENT_BYTES:,} bytes.") from None


def _signature_error(message: Mapping[str, Any], rules: Sequence[Rule], verifier: sns.Verifier) -> str | None:
    """Return None if a rule names the topic of the message and SNS has signed it, else what is wrong."""
    topic = message.get("TopicArn")
    if not any(rule.topic_arn == topic for rule in rules if rule.topic_arn):
        if (left_out := _unsigned.take()) is not None:
            log.warning("sns_topic_unknown", topic=topic if isinstance(topic, str) else None, left_out=left_out)
        return "No trigger has the topic of this message. Set its `topic_arn` in triggers.yaml."
    try:
        verifier.verify(message)
    except sns.NotSigned as error:
        if (left_out := _unsigned.take()) is not None:
            log.warning("sns_signature_invalid", topic=topic, error=str(error), left_out=left_out)
        return str(error)
    return None


def _confirm(message: Mapping[str, Any], verifier: sns.Verifier) -> None:
    try:
        verifier.verify(message)
        verifier.confirm(message)
    except sns.NotSigned as error:
        raise BadRequest(str(error)) from None
    log.info("sns_subscription_confirmed", topic=message.get("TopicArn"))


def _push_rules(loader: RuleLoader) -> list[Rule]:
    return [rule for rule in loader.rules() if rule.source is Source.PUSH]


def _handle(message: Mapping[str, Any], loader: RuleLoader, dispatcher: Dispatcher) -> None:
    problem = None
    try:
        events = events_of(message)
    except NotAnEvent as error:
        # The others of its records are processed.
        events, problem = list(error.events), error
        dispatcher.store.set_message_aside("push", json.dumps(message, sort_keys=True), str(problem))
    outcomes = dispatcher.handle_all(events, _push_rules(loader))
    if problem:
        raise BadRequest(str(problem))
    is_created = any(event.kind is Kind.CREATED for event in events)
    if is_created and EventOutcome.IGNORED in outcomes and not loader.is_in_force():
        # The rule that the object waits for may be in the file as soon as it can be read.
        raise ServiceUnavailable("The triggers file is missing or has errors. Send the message again.", retry_after=30)
    if EventOutcome.MISSING in outcomes:
        raise ServiceUnavailable("An object of the message does not exist yet. Send the message again.", retry_after=30)
    if EventOutcome.DEFERRED in outcomes:
        raise ServiceUnavailable("A rule has started enough batches today. Send the message again on the next UTC day.")
