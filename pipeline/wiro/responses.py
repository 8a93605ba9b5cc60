"""Response bodies as documents, and the small results in them: runs, folders, files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.wiro.errors import NoResponse, NotFound, printable_message
from pipeline.wiro.values import MAX_URL_CHARS, parse_json, to_id, to_model, to_plain_json, to_task_id, to_text


@dataclass(frozen=True)
class Run:
    """A run that the vendor accepted. One of the two is '' if the vendor left it out."""

    task_id: str
    token: str


@dataclass(frozen=True)
class ModelName:
    """A model in the vendor's list. `name`: "owner/name", in lower case."""

    name: str
    title: str


def parse_document(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`, merged with the object that it may wrap in `data`. None if there is none."""
    try:
        document = parse_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    data = document.get("data")
    if isinstance(data, list):
        data = {"tasklist": data, "list": data, **(data[0] if data and isinstance(data[0], dict) else {})}
    return {**document, **data} if isinstance(data, dict) else document


def parse_run(document: Mapping[str, Any]) -> Run | None:
    """Return the run that the response names, None if it names none."""
    run = Run(to_task_id(document.get("taskid")), to_id(document.get("socketaccesstoken")))
    return run if run.task_id or run.token else None


def parse_folder(document: Mapping[str, Any]) -> str:
    """Return the id of a new folder. Raises NoResponse if the response has none."""
    if folder := to_id(_first_entry(document).get("id")):
        return folder
    raise NoResponse("The vendor's response names no folder.")


def parse_file_url(document: Mapping[str, Any]) -> str:
    """Return the URL of an uploaded file. Raises NoResponse if the response has none."""
    url = to_text(_first_entry(document).get("url")).strip()
    if url.startswith(("https://", "http://")) and len(url) <= MAX_URL_CHARS:
        return url
    raise NoResponse("The vendor's response names no URL of the file.")


def parse_tool(document: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the description of `model` as plain JSON. Raises NotFound; NoResponse if the response has none."""
    tools = document.get("tool")
    if tools == []:
        raise NotFound(f"The vendor has no model {model}.")
    tool = to_plain_json(tools[0] if isinstance(tools, list) else tools)
    if isinstance(tool, dict):
        return tool
    raise NoResponse("The vendor's response describes no model.")


def parse_models(document: Mapping[str, Any]) -> list[ModelName]:
    """Return the models of a list. Rows that name none are skipped."""
    rows = document.get("tool")
    found = [_model_name(row) for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return [model for model in found if model.name]


def _model_name(row: Mapping[str, Any]) -> ModelName:
    name = to_model(row.get("cleanslugowner"), row.get("cleanslugproject"))
    name = name or to_model(row.get("slugowner"), row.get("slugproject"))
    return ModelName(name, printable_message(to_text(row.get("title"))))


def _first_entry(document: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = document.get("list")
    entry = entries[0] if isinstance(entries, list) and entries else entries
    return entry if isinstance(entry, Mapping) else {}
