"""The check of a manifest that a person still writes, as a form or as text: its errors, its cost, what is missing."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.pricing import BatchEstimate
from pipeline.batches.submission import Submission
from pipeline.domain.formatting import dollars, pluralize
from pipeline.domain.model import Manifest
from pipeline.errors import BatchAboveCeiling, InvalidManifest, Problem
from pipeline.manifest.parser import dump
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.manifest.uploaded_images import UploadedImages
from pipeline.web.dashboard.batch_form import FILE, BatchForm, FormManifest
from pipeline.web.error_responses import MAX_ERRORS

_MAX_MISSING = 50
"""How many names of missing images are returned."""


class UnfinishedBatch(BaseModel):
    """A form, or the text of a manifest. `images`: the addresses of uploaded images by the names of their files."""

    model_config = ConfigDict(extra="forbid")

    form: BatchForm | None = None
    text: str = ""
    images: dict[str, str] = {}


class ManifestCheck:
    """Checks what a person enters. Nothing is created."""

    def __init__(self, untrusted: UntrustedManifests, models: ModelCatalog, submission: Submission) -> None:
        self._untrusted = untrusted
        self._models = models
        self._submission = submission

    def check(self, batch: UnfinishedBatch) -> dict[str, Any]:
        """Return the manifest and the messages about it. Errors are a normal result: the manifest is being written.

        `text`: the manifest that a form means. `manifest`: what to submit, None if it cannot be. `question`: what to
        ask before that, None if it costs nothing.
        """
        images = UploadedImages(batch.images)
        made: FormManifest | None = None
        try:
            made = FormManifest(batch.form) if batch.form else None
            text = made.text if made else batch.text.encode()
            manifest = self._untrusted.read(text, file=FILE, images=images)
        except InvalidManifest as error:
            return _invalid(error, made)
        result = self._costs(manifest)
        if images.missing:
            result |= _missing(images)
        elif result["manifest"] is not None:
            result["manifest"] = dump(manifest).decode() if batch.images else text.decode()
        return {**result, "name": manifest.name, "text": text.decode() if made else None, "errors": []}

    def _costs(self, manifest: Manifest) -> dict[str, Any]:
        estimate = self._submission.with_reuse(BatchEstimate.of(manifest, self._models), manifest, None)
        try:
            self._submission.check_cost(estimate)
        except BatchAboveCeiling as error:
            return {"summary": str(error), "question": None, "manifest": None}
        count = len(manifest.items)
        is_free = estimate.high_usd == 0 and None not in estimate.runs
        return {
            "summary": f"{pluralize(count, 'item')} of {manifest.model}. {estimate}.{_over_budget(manifest, estimate)}",
            "question": None if is_free else f"Start {pluralize(len(estimate.runs), 'run')}? {estimate}.",
            "manifest": "",
        }


def _over_budget(manifest: Manifest, estimate: BatchEstimate) -> str:
    budget = manifest.limits.budget_usd
    if budget is None or (estimate.high_usd or 0) <= budget:
        return ""
    return f" The budget is less: the batch stops at {dollars(budget)}."


def _missing(images: UploadedImages) -> dict[str, Any]:
    names = list(images.missing)
    return {
        "summary": f"{pluralize(len(names), 'image')} missing. Drop the files on this page.",
        "missing": names[:_MAX_MISSING],
        "manifest": None,
    }


def _invalid(error: InvalidManifest, made: FormManifest | None) -> dict[str, Any]:
    return {
        "summary": f"The manifest has {pluralize(len(error.problems), 'error')}.",
        "text": made.text.decode() if made else None,
        "manifest": None,
        "errors": [_error(problem, made) for problem in error.problems[:MAX_ERRORS]],
    }


def _error(problem: Problem, made: FormManifest | None) -> dict[str, Any]:
    item = made.item_at(problem.line) if made else None
    return {"line": problem.line, "column": problem.column, "message": problem.message, "item": item}
