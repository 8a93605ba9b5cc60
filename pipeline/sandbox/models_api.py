"""The vendor's HTTP API for models: Tool/Detail and Tool/List."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pipeline.sandbox.forms import Form
from pipeline.sandbox.models import MODELS, Model
from pipeline.sandbox.state import STATE, request_form

routes = web.RouteTableDef()


@routes.post("/v1/Tool/Detail")
async def tool_detail(request: web.Request) -> web.Response:
    """Return a model: its price and its parameters."""
    form = await request_form(request)
    model = request.app[STATE].engine.model(f"{form.text('slugowner')}/{form.text('slugproject')}")
    return _response(request, [model], 1)


@routes.post("/v1/Tool/List")
async def tool_list(request: web.Request) -> web.Response:
    """Return a page of the models, perhaps those with a text in their name, a category or an owner."""
    form = await request_form(request)
    engine = request.app[STATE].engine
    found = [engine.model(slug) for slug in MODELS if _matches(engine.model(slug), form)]
    if form.text("order").upper() == "DESC":
        found.reverse()
    start = form.number("start", 0)
    return _response(request, found[start : start + form.number("limit", 20)], len(found))


def _matches(model: Model, form: Form) -> bool:
    owner, wanted = form.text("slugowner").lower(), form.values("categories")
    return (
        form.text("search").lower() in model.slug
        and (not owner or model.slug.startswith(f"{owner}/"))
        and (not wanted or not {model.category, "tool"}.isdisjoint(map(str, wanted)))
    )


def _response(request: web.Request, models: list[Model], total: int) -> web.Response:
    quoted = request.app[STATE].engine.options.quoted_categories
    tools: list[dict[str, Any]] = [model.as_json(quoted_categories=quoted) for model in models]
    return web.json_response({"result": True, "errors": [], "total": str(total), "tool": tools})
