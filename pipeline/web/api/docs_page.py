"""`/openapi.json`, and the HTML page of the API."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flask import Blueprint, Response, render_template, request

from pipeline.web.api import openapi
from pipeline.web.api.endpoints import JSON, Endpoints
from pipeline.web.api.manifest_schema import manifest_schemas


def blueprint(endpoints: Endpoints) -> Blueprint:
    """Return the routes `GET /openapi.json` and `GET /docs`. Every endpoint must be declared before this call."""
    routes = Blueprint("docs", __name__)
    description = openapi.document(endpoints.all)
    description["components"]["schemas"] |= manifest_schemas()
    text = json.dumps(description, ensure_ascii=False, separators=(",", ":"))
    etag = hashlib.sha256(text.encode()).hexdigest()[:32]

    @routes.get("/openapi.json")
    def openapi_json() -> Response:
        response = Response(text, content_type=JSON)
        response.set_etag(etag)
        response.make_conditional(request)
        return response

    @routes.get("/docs")
    def page() -> str:
        return render_template("api_docs.html", spec=description, endpoints=_operations(description))

    return routes


def _operations(description: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations as a flat list."""
    return [
        {"method": method.upper(), "path": path, **endpoint}
        for path, methods in description["paths"].items()
        for method, endpoint in methods.items()
    ]
