"""Operations of the API: declared once, served by Flask, described by /openapi.json."""

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
_PIECE = 64 * 1024


@dataclass(frozen=True)
class Header:
    """A request header that an operation looks at."""

    name: str
    description: str
    pattern: str


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    `query` and `body` are models of what is asked; `raw_body` describes, as OpenAPI does, a body that the handler
    reads itself. `answers` are models (or media types, of what is not JSON) by status, `errors` further statuses.
    """

    method: str
    path: str
    summary: str
    handler: Callable[..., Response]
    answers: Mapping[int, type[BaseModel] | str]
    errors: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    raw_body: Mapping[str, Any] | None = None
    headers: tuple[Header, ...] = ()

    @property
    def name(self) -> str:
        """Its `operationId`."""
        return self.handler.__name__


@dataclass
class Endpoints:
    """The operations of a blueprint."""

    routes: Blueprint
    all: list[Endpoint] = field(default_factory=list)

    def add(
        self, method: str, path: str, *, answers: Mapping[int, type[BaseModel] | str], **more: Any
    ) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
        """Declare the decorated handler an operation; its docstring is the summary. `more`: see Operation.

        It gets the names in the path, and `query` and `body` where they are declared, already judged.
        """

        def declare(handler: Callable[..., Response]) -> Callable[..., Response]:
            endpoint = Endpoint(method, path, (handler.__doc__ or "").strip(), handler, answers, **more)
            self.all.append(endpoint)
            rule = re.sub(r"\{(\w+)\}", r"<\1>", path)
            self.routes.add_url_rule(rule, endpoint.name, _view(endpoint), methods=[method])
            return handler

        return declare


def answer(document: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`document` as JSON. What was read may be asked for again with If-None-Match."""
    text = document.model_dump_json(exclude_unset=True).encode("utf-8", "replace")
    response = Response(text, status, headers, content_type=JSON)
    if request.method == "GET" and status == 200:
        response.add_etag(weak=False)
        response.make_conditional(request)
    return response


def whole_body() -> bytes:
    """The body of the request; 413 where it is longer than it may be."""
    # request.get_data() would cut a body without a length short where it reaches the limit, and say nothing.
    return b"".join(iter(lambda: request.stream.read(_PIECE), b""))


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**names: str) -> Response:
        asked: dict[str, BaseModel] = {}
        if endpoint.query is not None:
            asked["query"] = _query(endpoint.query)
        if endpoint.body is not None:
            asked["body"] = _body(endpoint.body)
        return endpoint.handler(**names, **asked)

    return view


def _query(model: type[BaseModel]) -> BaseModel:
    values: dict[str, Any] = {}
    for name, given in request.args.lists():
        known = model.model_fields.get(name)
        if known is not None and get_origin(known.annotation) is list:
            values[name] = [part for text in given for part in text.split(",") if part]
        elif len(given) > 1:
            raise BadRequest(f"{name}: is given more than once.")
        else:
            values[name] = given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadRequest(in_words(error)) from None


def _body(model: type[BaseModel]) -> BaseModel:
    request.max_content_length = MAX_JSON_BYTES
    data = whole_body()
    if data and request.mimetype != JSON:
        raise UnsupportedMediaType(f"The body is to be {JSON}.")
    try:
        return model.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise UnprocessableEntity(in_words(error)) from None


def in_words(error: ValidationError) -> str:
    """All mistakes of what was asked, without what was asked itself."""
    found = [f"{'.'.join(map(str, mistake['loc'])) or 'body'}: {mistake['msg']}" for mistake in error.errors()]
    return "; ".join(found[:20])
