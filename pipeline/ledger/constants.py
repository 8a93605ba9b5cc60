"""Constants of the domain as Lua source, so that Python and the scripts share one definition. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.domain.money import MAX_USD, to_pico
from pipeline.domain.retry_policy import FIRST_SEARCH_S
from pipeline.domain.states import TRANSITIONS
from pipeline.ledger.counters import BOUNDS_S
from pipeline.ledger.timeline import FIRST_STEP_S, MAX_SLICES
from pipeline.ledger.times import ms


def lua_constants() -> str:
    """Return the definitions that precede the ledger's scripts."""
    transitions = ", ".join(f"{state} = {_set(sorted(targets))}" for state, targets in TRANSITIONS.items())
    bounds_ms = ", ".join(str(round(bound * 1000)) for bound in BOUNDS_S)
    return (
        f"local LEGAL_TRANSITIONS = {{{transitions}}}\n"
        f"local FIRST_SEARCH_MS = {ms(FIRST_SEARCH_S)}\n"
        f"local MAX_PICO = '{to_pico(MAX_USD)}'\n"
        f"local LATENCY_BOUNDS_MS = {{{bounds_ms}}}\n"
        f"local TIMELINE_MAX_SLICES, TIMELINE_FIRST_STEP_MS = {MAX_SLICES}, {FIRST_STEP_S * 1000}\n"
    )


def _set(members: Iterable[str]) -> str:
    return "{" + ", ".join(f"{member} = true" for member in members) + "}"
