"""Ids in the paths of requests: one that is not valid is of nothing that exists, and reaches neither Redis nor S3."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.exceptions import NotFound

from pipeline.domain.ids import is_batch_id, is_item_id, is_job_id
from pipeline.errors import NoSuchBatch, NoSuchItem


def check_path_ids(app: Flask) -> None:
    """Return 404 for every request of `app` whose path has an id that is not valid."""
    app.before_request(_check)


def _check() -> None:
    names = request.view_args or {}
    batch_id, item_id, job_id = (names.get(name) for name in ("batch_id", "item_id", "job_id"))
    if batch_id is not None and not is_batch_id(batch_id):
        raise NoSuchBatch(batch_id)
    if item_id is not None and not is_item_id(item_id):
        raise NoSuchItem(batch_id or "", item_id)
    if job_id is not None and not is_job_id(job_id):
        raise NotFound("There is no such job.")
