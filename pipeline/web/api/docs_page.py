"""`/openapi.json`, and a page that shows it to people."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flask import Blueprint, Response, render_template, request

from pipeline.web.api import openapi
from pipeline.web.api.endpoints import JSON, Endpoints
from pipeline.web.api.manifest_schema import manifest_schemas


def blueprint(endpoints: Endpoints) -> Blueprint:
    """`GET /openapi.json` and `GET /docs`. The description is made once: operations are all declared by now."""
    routes = Blueprint("docs", __name__)
    description = openapi.document(endpoints.all)
    description["components"]["schemas"] |= manifest_schemas()
    text = json.dumps(description, ensure_ascii=False, separators=(",", ":"))
    etag = hashlib.sha256(text.encode()).hexdigest()[:32]

    @routes.get("/openapi.json")
    def openapi_json() -> Response:
        answer = Response(text, content_type=JSON)
        answer.set_etag(etag)
        answer.make_conditional(request)
        return answer

    @routes.get("/docs")
    def page() -> str:
        return render_template("docs.html", spec=description, endpoints=_listed(description))

    return routes


def _listed(description: dict[str, Any]) -> list[dict[str, Any]]:
    """Operations one after the other, as the page shows them."""
    return [
        {"method": method.upper(), "path": path, **endpoint}
        for path, methods in description["paths"].items()
        for method, endpoint in methods.items()
    ]
