"""The page of a new batch: the form and its manifest, dropped rows, models with their parameters."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypeVar

from flask import Blueprint, Response, jsonify, redirect, render_template, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest, NotFound, RequestEntityTooLarge, UnprocessableEntity
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.model_catalog import ModelLookup
from pipeline.batches.model_search import ModelSearch
from pipeline.batches.service import Service
from pipeline.batches.stored_manifest import MANIFEST
from pipeline.domain.ids import is_batch_id
from pipeline.domain.media_types import is_picture, media_type_of
from pipeline.domain.s3_names import is_below
from pipeline.domain.system_files import ADVICE, SYSTEM_FILE, is_system_file
from pipeline.ledger.batches import BatchStore
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.manifest.uploaded_images import UploadedImages
from pipeline.manifest.validators import DEFAULT_MODEL, ROWS_SUFFIXES, is_model
from pipeline.storage.s3 import Storage, join
from pipeline.web.api.endpoints import error_messages, whole_body
from pipeline.web.api.image_upload import MAX_IMAGE_MB
from pipeline.web.dashboard.batch_form import FILE, MAX_MANIFEST_BYTES, MAX_TAKES, form_of
from pipeline.web.dashboard.dropped_rows import dropped_rows
from pipeline.web.dashboard.manifest_check import ManifestCheck, UnfinishedBatch
from pipeline.web.dashboard.model_form import model_form
from pipeline.wiro.errors import NotFound as NoSuchModel

_MAX_REQUEST_BYTES = 2 * MAX_MANIFEST_BYTES
"""A manifest is longer as text in JSON."""
_IMAGE_TTL_S = 600
_Model = TypeVar("_Model", bound=BaseModel)


def blueprint(service: Service) -> Blueprint:
    """Return `GET /new`, and the routes that its scripts use."""
    routes = Blueprint("new_batch", __name__)
    untrusted = UntrustedManifests(service.settings, service.storage, service.models.for_checks())
    _add_page(routes, service)
    _add_checks(routes, service, untrusted)
    _add_models(routes, service)
    _add_stored(routes, service.ledger.batches, service.storage, untrusted)
    return routes


def _add_page(routes: Blueprint, service: Service) -> None:
    settings = service.settings

    @routes.get("/new")
    def page() -> str:
        stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        batch_id = request.args.get("from", "")
        return render_template(
            "new_batch.html",
            copy_of=batch_id if is_batch_id(batch_id) else "",
            model=DEFAULT_MODEL,
            stamp=stamp,
            output=settings.output,
            max_image_mb=MAX_IMAGE_MB,
            max_takes=MAX_TAKES,
            system_file=SYSTEM_FILE,
        )

    @routes.get("/new/image")
    def image() -> AnyResponse:
        """Show an image that a manifest from a browser may name."""
        uri = request.args.get("uri", "")
        if not is_below(uri, settings.prefixes) or not is_picture(media_type_of(uri)):
            raise NotFound("This is not the address of an image below PIPELINE_OUTPUT or PIPELINE_BUCKETS.")
        url = service.storage.presign(uri, expires_s=_IMAGE_TTL_S, content_type=media_type_of(uri))
        return redirect(url, 302)


def _add_checks(routes: Blueprint, service: Service, untrusted: UntrustedManifests) -> None:
    manifest_check = ManifestCheck(untrusted, service.models, service.submission)

    @routes.post("/new/validate")
    def validate() -> Response:
        return jsonify(manifest_check.check(_body(UnfinishedBatch)))

    @routes.post("/new/form")
    def form() -> Response:
        """Return the form that means a manifest. Raises InvalidManifest."""
        manifest = untrusted.read(whole_body(), file=FILE, images=UploadedImages({}))
        return jsonify(form_of(manifest).model_dump())

    @routes.post("/new/rows")
    def rows() -> Response:
        path = request.args.get("file", "")
        file = path.rpartition("/")[2]
        if is_system_file(path):
            raise BadRequest(f"{file}: {ADVICE}.")
        if not file.lower().endswith(ROWS_SUFFIXES):
            raise BadRequest(f"The name of the file must end in {', '.join(ROWS_SUFFIXES)}.")
        return jsonify(
            dropped_rows(
                whole_body(),
                file=file,
                model=request.args.get("model", ""),
                ignored=tuple(request.args.getlist("ignore")),
                schema_of=service.models.for_checks(),
            )
        )


def _add_models(routes: Blueprint, service: Service) -> None:
    search = ModelSearch.of(service.settings)

    @routes.get("/new/models")
    def models() -> Response:
        return jsonify(asdict(search.find(request.args.get("find", ""))))

    @routes.get("/new/model")
    def model() -> Response:
        name = request.args.get("name", "")
        if not is_model(name):
            raise BadRequest("The name of a model is owner/model.")
        try:
            found = service.models.lookup(name)
        except NoSuchModel:
            found = ModelLookup(None, "The vendor has no model of this name, or it is not open to you.")
        return jsonify(model_form(found))


def _add_stored(routes: Blueprint, batches: BatchStore, storage: Storage, untrusted: UntrustedManifests) -> None:
    @routes.get("/batches/<batch_id>/form")
    def stored_form(batch_id: str) -> Response:
        """Return the form that means the manifest of a batch. Raises InvalidManifest, StorageError."""
        uri = join(batches.get(batch_id).output, MANIFEST)
        info = storage.info(uri)
        if info is not None and info.size > MAX_MANIFEST_BYTES:
            raise RequestEntityTooLarge("The manifest of this batch is larger than 8 MB. Use `dailies submit`.")
        text = storage.get(uri)
        if text is None:
            raise NotFound(f"The manifest of this batch is not at {uri} any more.")
        return jsonify(form_of(untrusted.read(text, file=FILE, images=UploadedImages({}))).model_dump())


def _body(model: type[_Model]) -> _Model:
    request.max_content_length = _MAX_REQUEST_BYTES
    try:
        return model.model_validate_json(whole_body())
    except ValidationError as error:
        raise UnprocessableEntity(error_messages(error)) from None
