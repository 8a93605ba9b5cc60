"""API endpoints: each is declared once, served by Flask and described by /openapi.json."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_origin

from flask import Blueprint, Response, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest, UnprocessableEntity, UnsupportedMediaType

JSON = "application/json"
MAX_JSON_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
_MAX_MESSAGES = 20


@dataclass(frozen=True)
class Header:
    """A request header that an endpoint reads."""

    name: str
    description: str
    pattern: str


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    `query` and `body` are the models of the request. `raw_body` describes, in OpenAPI's terms, a body that the
    handler reads itself. `responses` maps each status to a model, or to a media type if the body is not JSON.
    `errors` lists further statuses.
    """

    method: str
    path: str
    summary: str
    handler: Callable[..., Response]
    responses: Mapping[int, type[BaseModel] | str]
    errors: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    raw_body: Mapping[str, Any] | None = None
    headers: tuple[Header, ...] = ()

    @property
    def name(self) -> str:
        """The `operationId`."""
        return self.handler.__name__


@dataclass
class Endpoints:
    """The endpoints of a blueprint."""

    routes: Blueprint
    all: list[Endpoint] = field(default_factory=list)

    def add(
        self, method: str, path: str, *, responses: Mapping[int, type[BaseModel] | str], **more: Any
    ) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
        """Declare the decorated handler as an endpoint; its docstring is the summary. `more`: fields of Endpoint.

        The handler is called with the names in the path, and with the validated `query` and `body` if declared.
        """

        def declare(handler: Callable[..., Response]) -> Callable[..., Response]:
            endpoint = Endpoint(method, path, (handler.__doc__ or "").strip(), handler, responses, **more)
            self.all.append(endpoint)
            rule = re.sub(r"\{(\w+)\}", r"<\1>", path)
            self.routes.add_url_rule(rule, endpoint.name, _view(endpoint), methods=[method])
            return handler

        return declare


def json_response(document: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `document` as a JSON response. A GET has an ETag and honours If-None-Match."""
    text = document.model_dump_json(exclude_unset=True).encode("utf-8", "replace")
    response = Response(text, status, headers, content_type=JSON)
    if request.method == "GET" and status == 200:
        response.add_etag(weak=False)
        response.make_conditional(request)
    return response


def whole_body() -> bytes:
    """Return the request's body. Raises RequestEntityTooLarge (413) above the limit."""
    # request.get_data() silently truncates a body without Content-Length at the limit.
    return b"".join(iter(lambda: request.stream.read(_CHUNK_BYTES), b""))


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**names: str) -> Response:
        models: dict[str, BaseModel] = {}
        if endpoint.query is not None:
            models["query"] = _query(endpoint.query)
        if endpoint.body is not None:
            models["body"] = _body(endpoint.body)
        return endpoint.handler(**names, **models)

    return view


def _query(model: type[BaseModel]) -> BaseModel:
    values: dict[str, Any] = {}
    for name, texts in request.args.lists():
        known = model.model_fields.get(name)
        if known is not None and get_origin(known.annotation) is list:
            values[name] = [part for text in texts for part in text.split(",") if part]
        elif len(texts) > 1:
            raise BadRequest(f"{name}: the query has this parameter more than once. Send it once.")
        else:
            values[name] = texts[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadRequest(error_messages(error)) from None


def _body(model: type[BaseModel]) -> BaseModel:
    request.max_content_length = MAX_JSON_BYTES
    data = whole_body()
    if data and request.mimetype != JSON:
        raise UnsupportedMediaType(f"The content type of the body is not {JSON}. Send the body as {JSON}.")
    try:
        return model.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise UnprocessableEntity(error_messages(error)) from None


def error_messages(error: ValidationError) -> str:
    """Return the validation errors as one line, without the values that were sent."""
    messages = [f"{'.'.join(map(str, entry['loc'])) or 'body'}: {entry['msg']}" for entry in error.errors()]
    return "; ".join(messages[:_MAX_MESSAGES])
