"""The version of the data that the ledger stores, checked when a process connects.

The version rises when stored data changes its meaning. A release supports a range of versions: it continues data of a
compatible older version, which makes a rolling upgrade possible, and refuses all others.

    1    release 0.1.0, which records no version
    2    the version is recorded
"""

from __future__ import annotations

from pipeline.errors import IncompatibleSchema
from pipeline.ledger.scripts import ScriptRunner

CURRENT = 2
OLDEST_COMPATIBLE = 1
_UNVERSIONED = 1


def check(scripts: ScriptRunner) -> None:
    """Record CURRENT on the server. Raises IncompatibleSchema if the server has data of an incompatible version."""
    found = str(scripts.run("check_schema", CURRENT, OLDEST_COMPATIBLE, _UNVERSIONED))
    if not found.isdecimal() or not OLDEST_COMPATIBLE <= int(found) <= CURRENT:
        raise IncompatibleSchema(found, oldest=OLDEST_COMPATIBLE, current=CURRENT)
