"""`POST /events/s3`: word of objects that S3 servers, SNS and EventBridge send.

Whoever sends holds a token (PIPELINE_API_TOKEN or PIPELINE_EVENTS_TOKEN, as bearer, in `x-api-key`, or as the password
of basic authentication, which an SNS subscription can carry in its URL). SNS may sign instead, for topics that a rule
names. 200 is answered once there is nothing left to do for the message: anything else has it sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, RequestEntityTooLarge, Unauthorized

from pipeline.batches.service import Service
from pipeline.triggers import sns
from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.events import NotAnEvent, as_object, events_of
from pipeline.triggers.rule import Rule, Source
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.web.security.api_tokens import Tokens
from pipeline.web.security.authentication import open_to_all, somebody_on_this_machine

log = structlog.get_logger()

MAX_EVENT_BYTES = 1024 * 1024


def blueprint(service: Service, tokens: Tokens) -> Blueprint:
    """The route. `tokens` are those of the API."""
    routes = Blueprint("push", __name__)
    given = service.settings.events_token
    gate = _Gate(tokens, Tokens(given.get_secret_value() if given else ""))
    verifier = sns.Verifier(sns.fetch)
    book = RuleLoader(service.settings.triggers)
    dispatcher = Dispatcher.of(service)

    @routes.post("/events/s3")
    @open_to_all
    def s3() -> Response:
        rules = [rule for rule in book.rules() if rule.source is Source.PUSH]
        refusal = gate.refusal()
        if refusal and "x-amz-sns-message-type" not in request.headers:
            raise refusal
        message = _message()
        if refusal:
            _check_signed(message, rules, verifier)
        if message.get("Type") == "SubscriptionConfirmation":
            _confirm(message, verifier)
        elif message.get("Type") != "UnsubscribeConfirmation":
            _handle(message, rules, dispatcher)
        return Response(status=200)

    return routes


class _Gate:
    def __init__(self, *tokens: Tokens) -> None:
        self._tokens = [one for one in tokens if one]

    def refusal(self) -> HTTPException | None:
        """None where the request carries one of the tokens, or, without any token, comes from this machine."""
        if not self._tokens:
            try:
                somebody_on_this_machine()
            except Forbidden as error:
                return error
            return None
        if any(tokens.holder(one) for tokens in self._tokens for one in _given() if one):
            return None
        return Unauthorized("Send the token of PIPELINE_EVENTS_TOKEN as a bearer token or in `x-api-key`.")


def _given() -> Sequence[str]:
    whole = request.headers.get("Authorization", "")
    password = request.authorization.password if request.authorization else None
    return [request.headers.get("x-api-key", ""), whole, whole.partition(" ")[2].strip(), password or ""]


def _message() -> Mapping[str, Any]:
    request.max_content_length = MAX_EVENT_BYTES
    try:
        return as_object(request.get_data(cache=False))
    except NotAnEvent as error:
        raise BadRequest(str(error)) from None
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(f"A message has at most {MAX_EVENT_BYTES:,} bytes.") from None


def _check_signed(message: Mapping[str, Any], rules: Sequence[Rule], verifier: sns.Verifier) -> None:
    """Raise Unauthorized unless SNS has signed the message for a topic that a rule names."""
    topic = message.get("TopicArn")
    if not any(rule.topic_arn == topic for rule in rules if rule.topic_arn):
        log.warning("sns_topic_unknown", topic=topic if isinstance(topic, str) else None)
        raise Unauthorized("No trigger names the topic of this message: `topic_arn` in triggers.yaml.")
    try:
        verifier.verify(message)
    except sns.NotSigned as error:
        log.warning("sns_not_signed", topic=topic, error=str(error))
        raise Unauthorized(str(error)) from None


def _confirm(message: Mapping[str, Any], verifier: sns.Verifier) -> None:
    try:
        verifier.verify(message)
        verifier.confirm(message)
    except sns.NotSigned as error:
        raise BadRequest(str(error)) from None
    log.info("sns_subscription_confirmed", topic=message.get("TopicArn"))


def _handle(message: Mapping[str, Any], rules: Sequence[Rule], dispatcher: Dispatcher) -> None:
    try:
        events = events_of(message)
    except NotAnEvent as error:
        raise BadRequest(str(error)) from None
    for event in events:
        dispatcher.handle(event, rules)
