"""The OpenAPI 3.1 description of the declared endpoints. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from pipeline.web.api.endpoints import JSON, Endpoint, Header
from pipeline.web.api.schemas import BATCH_ID, ProblemDocument

_REF = "#/components/schemas/{model}"
_ALWAYS = (401, 403, 429, 503)
_NAMES = {
    "batch_id": {"type": "string", "pattern": BATCH_ID},
    "item_id": {"type": "string", "minLength": 1, "maxLength": 128},
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the description of all endpoints."""
    schemas = _Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dailies",
            "version": "1",
            "description": "Makes a video on S3 from each image/prompt pair of a manifest. Money is decimal text, "
            "times are RFC 3339 UTC, errors are problem documents (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


class _Schemas:
    """The schemas of all models, and references to them."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemDocument, "serialization"): None}
        for endpoint in endpoints:
            for response in endpoint.responses.values():
                if not isinstance(response, str):
                    models[response, "serialization"] = None
            for model in (endpoint.body, endpoint.query):
                if model is not None:
                    models[model, "validation"] = None
        self._references, top = models_json_schema(list(models), ref_template=_REF)
        self.definitions: dict[str, Any] = top["$defs"]

    def of(self, model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
        return dict(self._references[model, mode])

    def properties(self, model: type[BaseModel]) -> dict[str, Any]:
        name = self.of(model, "validation")["$ref"].rpartition("/")[2]
        properties: dict[str, Any] = self.definitions[name]["properties"]
        return properties


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary.partition("\n")[0],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _NAMES[name]} for name in _names(endpoint)),
            *_query_parameters(endpoint, schemas),
            *map(_header, endpoint.headers),
        ],
        "responses": _responses(endpoint, schemas),
    }
    if rest := endpoint.summary.partition("\n")[2].strip():
        operation["description"] = re.sub(r"\s*\n\s*", " ", rest)
    if endpoint.raw_body is not None:
        operation["requestBody"] = endpoint.raw_body
    elif endpoint.body is not None:
        required = any(field.is_required() for field in endpoint.body.model_fields.values())
        schema = schemas.of(endpoint.body, "validation")
        operation["requestBody"] = {"required": required, "content": {JSON: {"schema": schema}}}
    return operation


def _names(endpoint: Endpoint) -> list[str]:
    return re.findall(r"\{(\w+)\}", endpoint.path)


def _query_parameters(endpoint: Endpoint, schemas: _Schemas) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    parameters = []
    for name, schema in schemas.properties(endpoint.query).items():
        parameter: dict[str, Any] = {"name": name, "in": "query", "schema": _without_null(schema)}
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null: a query omits a parameter that has no value."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if len(options) != 1:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**rest, **options[0]}


def _header(header: Header) -> dict[str, Any]:
    schema = {"type": "string", "pattern": header.pattern}
    return {"name": header.name, "in": "header", "description": header.description, "schema": schema}


def _responses(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, body in endpoint.responses.items():
        media = body if isinstance(body, str) else JSON
        schema = {"type": "string"} if isinstance(body, str) else schemas.of(body, "serialization")
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {media: {"schema": schema}},
        }
    if endpoint.method == "GET" and 200 in endpoint.responses:
        responses["304"] = {"description": "The ETag in If-None-Match still matches."}
    for status in sorted({*endpoint.errors, *_ALWAYS}):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": schemas.of(ProblemDocument, "serialization")}},
        }
    return responses
