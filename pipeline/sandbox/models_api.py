"""The vendor's HTTP API for models: Tool/Detail, Tool/List and Tool/Explore."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pipeline.sandbox.forms import Form
from pipeline.sandbox.models import MODELS, Model
from pipeline.sandbox.state import STATE, request_form

_RESULT: dict[str, Any] = {"result": True, "errors": []}

routes = web.RouteTableDef()


@routes.post("/v1/Tool/Detail")
async def tool_detail(request: web.Request) -> web.Response:
    """Return a model: its price and its parameters."""
    form = await request_form(request)
    model = request.app[STATE].engine.model(f"{form.text('slugowner')}/{form.text('slugproject')}")
    return web.json_response(_RESULT | {"total": "1", "tool": _tools(request, [model])})


@routes.post("/v1/Tool/List")
async def tool_list(request: web.Request) -> web.Response:
    """Return a page of the models, perhaps those with a text in their name, a category or an owner."""
    form = await request_form(request)
    engine = request.app[STATE].engine
    found = [engine.model(slug) for slug in MODELS if _matches(engine.model(slug), form)]
    if form.text("order").upper() == "DESC":
        found.reverse()
    start = form.number("start", 0)
    page = found[start : start + form.number("limit", 20)]
    return web.json_response(_RESULT | {"total": str(len(found)), "tool": _tools(request, page)})


@routes.post("/v1/Tool/Explore")
async def tool_explore(request: web.Request) -> web.Response:
    """Return all models, in one group. Only the vendor's own clients use this endpoint."""
    models = list(map(request.app[STATE].engine.model, MODELS))
    group = {"id": "1", "title": "Models", "total": str(len(models)), "tools": _tools(request, models)}
    return web.json_response(_RESULT | {"explore": [group]})


def _matches(model: Model, form: Form) -> bool:
    owner, wanted = form.text("slugowner").lower(), form.values("categories")
    return (
        form.text("search").lower() in model.slug
        and (not owner or model.slug.startswith(f"{owner}/"))
        and (not wanted or not {model.category, "tool"}.isdisjoint(map(str, wanted)))
    )


def _tools(request: web.Request, models: list[Model]) -> list[dict[str, Any]]:
    quoted = request.app[STATE].engine.options.quoted_categories
    return [model.as_json(quoted_categories=quoted) for model in models]
