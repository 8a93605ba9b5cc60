"""Outcomes of items, as the ledger stores them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.domain.failure_groups import cause_of
from pipeline.domain.states import ItemState


def outcome_text(outcome: Mapping[str, Any]) -> str:
    """Return the JSON of an outcome {status, error, …}; that of a failure with its cause, which the scripts count."""
    is_failure = outcome["status"] == ItemState.FAILED
    return json.dumps(
        {**outcome, **({"cause": cause_of(outcome.get("error"))} if is_failure else {})}, ensure_ascii=False
    )
