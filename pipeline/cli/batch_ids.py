"""How commands name a batch: its id, the beginning of its id that no other batch has, or `last`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.domain.ids import is_batch_id
from pipeline.domain.suggestions import hint
from pipeline.errors import AmbiguousBatch, NoSuchBatch

if TYPE_CHECKING:
    from pipeline.ledger.queries import QueryStore

LAST = "last"
_MAX_CANDIDATES = 10
_MAX_COMPARED = 1000
"""A mistyped id is compared with so many ids, the newest."""


class BatchId(click.ParamType[str]):
    """The type of an argument that names a batch; its value is the id. The command needs the option `--state`."""

    name = "batch"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id of the batch that `value` names. Raises NoSuchBatch, AmbiguousBatch, Unreachable."""
        from pipeline.cli.options import ledger

        if ctx is None or ctx.resilient_parsing:
            # A shell completes the line: nothing is looked up.
            return value
        if not is_batch_id(value):
            raise NoSuchBatch(value)
        return find_batch_id(ledger(ctx.params["state"]).queries, value)


def find_batch_id(queries: QueryStore, name: str) -> str:
    """Return the id of the batch that `name` names. Raises NoSuchBatch, AmbiguousBatch."""
    if queries.has_batch(name):
        return name
    if name == LAST:
        newest = queries.newest_ids(1)
        if not newest:
            raise NoSuchBatch(name)
        return newest[0]
    matching = queries.ids_with_prefix(name, _MAX_CANDIDATES + 1)
    if len(matching) == 1:
        return matching[0]
    if matching:
        more = ", …" if len(matching) > _MAX_CANDIDATES else ""
        raise AmbiguousBatch(name, f"{', '.join(sorted(matching[:_MAX_CANDIDATES]))}{more}")
    raise NoSuchBatch(name, hint(name, queries.newest_ids(_MAX_COMPARED)))
