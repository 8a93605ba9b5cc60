"""Parts of docs/ and of the README that are generated from the program.

`python tests/support/generated_docs.py` writes them anew.
A generated part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import click

from pipeline.cli.main import COMMANDS, main
from pipeline.domain.states import TERMINAL, TRANSITIONS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def item_states() -> str:
    """Return the state diagram of an item in Mermaid, from the transition table."""
    arrows = [f"    {state} --> {to}" for state, targets in TRANSITIONS.items() for to in sorted(targets)]
    ends = [f"    {state} --> [*]" for state in TRANSITIONS if state in TERMINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> pending", *arrows, *ends, "```"])


def commands() -> str:
    """Return the table of all commands, with their arguments."""
    return "\n".join(
        ["| command | |", "|---|---|", *(f"| `{_usage(name)}` | {text} |" for name, text in COMMANDS.items())]
    )


def _usage(name: str) -> str:
    ctx = main.make_context("dailies", [], resilient_parsing=True)
    command = main.get_command(ctx, name)
    assert command
    pieces = [piece.replace("...", "…") for piece in command.collect_usage_pieces(click.Context(command, parent=ctx))]
    return " ".join([name, *(piece for piece in pieces if piece != "[OPTIONS]")])


def modules() -> str:
    """Return a table of the modules of each package, with the first line of their docstrings."""
    files = [file for package in ("pipeline", "jobs", "config") for file in sorted((ROOT / package).rglob("*.py"))]
    lines: list[str] = []
    for folder in dict.fromkeys(file.parent for file in files):
        rows = [(file.name, _first_line(file)) for file in files if file.parent == folder]
        lines += [f"## `{folder.relative_to(ROOT)}/`", "", "| module | |", "|---|---|"]
        lines += [f"| `{name}` | {text} |" for name, text in rows if name != "__init__.py"]
        lines += [""]
    return "\n".join(lines).rstrip()


def _first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "item states": ("architecture.md", item_states),
    "modules": ("modules.md", modules),
    "commands": ("../README.md", commands),
}
"""name of the part → its page, and the function that returns its text"""


def with_part(page: str, name: str, text: str) -> str:
    """Return `page` with the part `name` replaced by `text`. Raises ValueError if the page lacks its markers."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"The page has no part {name!r}.")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def write_parts() -> None:
    """Write all generated parts."""
    for name, (file, make) in PARTS.items():
        path = DOCS / file
        path.write_text(with_part(path.read_text(), name, make()))


if __name__ == "__main__":
    write_parts()
