"""Parts of docs/ that are generated from the program: `python tests/support/generated_docs.py` writes them anew.

A generated part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pipeline.domain.states import TERMINAL, TRANSITIONS

DOCS = Path(__file__).parents[2] / "docs"


def item_states() -> str:
    """Return the state diagram of an item in Mermaid, from the transition table."""
    arrows = [f"    {state} --> {to}" for state, targets in TRANSITIONS.items() for to in sorted(targets)]
    ends = [f"    {state} --> [*]" for state in TRANSITIONS if state in TERMINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> pending", *arrows, *ends, "```"])


PARTS: dict[str, tuple[str, Callable[[], str]]] = {"item states": ("architecture.md", item_states)}
"""name of the part → its page, and the function that returns its text"""


def with_part(page: str, name: str, text: str) -> str:
    """Return `page` with the part `name` replaced by `text`. Raises ValueError if the page lacks its markers."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"The page has no part {name!r}.")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def main() -> None:
    """Write all generated parts."""
    for name, (file, make) in PARTS.items():
        path = DOCS / file
        path.write_text(with_part(path.read_text(), name, make()))


if __name__ == "__main__":
    main()
