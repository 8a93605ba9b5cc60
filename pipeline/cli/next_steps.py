"""What a person does next with a batch: where its page is, and the command that copies its videos."""

from __future__ import annotations

import shlex
from pathlib import Path

from pipeline.cli.options import DEFAULT_STATE
from pipeline.cli.service_address import dashboard_url
from pipeline.domain.model import BatchRow
from pipeline.settings import Settings


def next_steps(settings: Settings, batch: BatchRow, state: Path) -> list[tuple[str, str]]:
    """Return (name, text) of the page of the batch, if its address is known, and of the command that copies it.

    `state`: the folder of the `up` that the command used.
    """
    url = dashboard_url(settings, batch.id)
    option = "" if state == DEFAULT_STATE else f" --state {shlex.quote(str(state))}"
    pull = [("pull", f"dailies pull {batch.id}{option}")] if batch.is_accepted else []
    return [*([("page", url)] if url else []), *pull]
