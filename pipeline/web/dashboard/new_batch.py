"""The form of a new batch, and the validation of its manifest."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from flask import Blueprint, Response, jsonify, render_template

from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.pricing import BatchEstimate
from pipeline.batches.submission import Submission
from pipeline.domain.formatting import pluralize
from pipeline.domain.model import Manifest
from pipeline.errors import BatchAboveCeiling, InvalidManifest
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.manifest.validators import DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web.api.endpoints import whole_body
from pipeline.web.error_responses import MAX_ERRORS


def blueprint(settings: Settings, storage: Storage, models: ModelCatalog, submission: Submission) -> Blueprint:
    """Return the routes `GET /new` and `POST /new/validate`."""
    routes = Blueprint("new_batch", __name__)
    untrusted = UntrustedManifests(settings, storage, models.for_checks())

    @routes.get("/new")
    def page() -> str:
        stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return render_template("new_batch.html", model=DEFAULT_MODEL, stamp=stamp, output=settings.output)

    @routes.post("/new/validate")
    def validate() -> Response:
        # Errors are a normal result here, not an error status: the manifest is still being written.
        try:
            manifest = untrusted.read(whole_body(), file="manifest")
        except InvalidManifest as error:
            summary = f"The manifest has {pluralize(len(error.problems), 'error')}."
            return jsonify(name=None, summary=summary, errors=_errors(error))
        return jsonify(name=manifest.name, summary=_cost(models, submission, manifest), errors=[])

    return routes


def _cost(models: ModelCatalog, submission: Submission, manifest: Manifest) -> str:
    estimate = BatchEstimate.of(manifest, models)
    try:
        submission.check_cost(estimate)
    except BatchAboveCeiling as error:
        return str(error)
    return f"{pluralize(len(manifest.items), 'item')} of {manifest.model}. {estimate}."


def _errors(error: InvalidManifest) -> list[dict[str, object]]:
    return [
        {"line": problem.line, "column": problem.column, "message": problem.message}
        for problem in error.problems[:MAX_ERRORS]
    ]
