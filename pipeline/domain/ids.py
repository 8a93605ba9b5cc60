"""Which ids of batches, items and jobs are valid: they are names of folders and parts of Redis keys. Pure.

`is_id` in `pipeline/ledger/lua/_keys.lua` is the same rule for the scripts; `pipeline.errors.ID_RULE` describes it.
"""

from __future__ import annotations

import re

_ID = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_batch_id(text: str) -> bool:
    """Return whether `text` can be the id of a batch."""
    return _ID.fullmatch(text) is not None


def is_item_id(text: str) -> bool:
    """Return whether `text` can be the id of an item."""
    return _ID.fullmatch(text) is not None


def is_job_id(text: str) -> bool:
    """Return whether `text` can be the id of a job of ours in RQ."""
    return _JOB_ID.fullmatch(text) is not None
