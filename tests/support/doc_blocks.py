"""Code blocks of the pages, and a shell that runs them as a reader pastes them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START = "dailies up"
"""This command runs until the end of the page; the next one starts when the service is ready."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_HEREDOC = re.compile(r"<<(\w+)$")
_VARIES = [
    (r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?=\\ \d)", "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"),
    (r"CEST|CET", "(?:CEST|CET)"),
    (r"\d+", r"\\d+"),
    ("…", ".*"),
    (r"(?:\\ )+", r"\\s+"),
]
"""What is not the same each time: days, numbers, the width of columns, and what a page leaves out with `…`."""


@dataclass(frozen=True)
class Block:
    """A fenced code block. `line`: that of its fence, from 1."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a page, and the lines that the page shows of its output."""

    text: str
    output: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def words(self) -> str:
        """The command without its comment."""
        return re.sub(r"\s+# .*", "", self.text).strip()


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = (ROOT / page).read_text()
    return [Block(page, text.count("\n", 0, one.start()) + 1, one[1], one[2]) for one in _FENCE.finditer(text)]


def commands(page: str, *, failing: Mapping[str, int] | None = None) -> list[Command]:
    """Return the commands of the console and bash blocks of a page. `failing`: {command: its exit code}."""
    found = [one for block in blocks(page) for one in _commands(block)]
    return [Command(one.text, one.output, (failing or {}).get(one.words, 0)) for one in found]


def _commands(block: Block) -> list[Command]:
    if block.language == "bash":
        return [Command(line) for line in block.text.splitlines()]
    if block.language != "console":
        return []
    found: list[Command] = []
    end = ""
    for line in block.text.splitlines():
        if end:
            found[-1] = Command(f"{found[-1].text}\n{line}")
            end = "" if line == end else end
        elif line.startswith("$ "):
            found.append(Command(line.removeprefix("$ ")))
            heredoc = _HEREDOC.search(line)
            end = heredoc[1] if heredoc else ""
        else:
            found[-1] = Command(found[-1].text, (*found[-1].output, line))
    return found


def run(page: Iterable[Command], folder: Path, environment: Mapping[str, str], *, timeout_s: float) -> None:
    """Run commands in one shell in `folder`. Raises AssertionError if one fails or prints other lines than the page."""
    page = list(page)
    file = folder / "page.sh"
    file.write_text(_script(page))
    with (folder / "page.log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", str(file)], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = shell.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = -1
            # The service, too: it stops its processes.
            os.killpg(shell.pid, signal.SIGTERM)
            shell.wait(60)
    outputs = [file.read_text() for n in range(len(page)) if (file := folder / f"output.{n}").exists()]
    assert code == 0, f"exit code {code} of: {page[len(outputs) - 1].text}\n{outputs[-1]}"
    for command, printed in zip(page, outputs, strict=True):
        for line in command.output:
            assert _matches(line, printed), f"{command.text}\nthe page shows: {line}\nprinted was:\n{printed}"


def _script(page: Iterable[Command]) -> str:
    lines = ["set -e", "trap '[ -z \"$UP\" ] || { kill $UP; wait $UP; }' EXIT"]
    for number, command in enumerate(page):
        if command.words == START:
            lines += [
                f"{START} > output.{number} 2>&1 &",
                "UP=$!",
                f"until grep -q '^Ready' output.{number}; do kill -0 $UP; sleep 0.2; done",
            ]
        else:
            may_fail = f" || [ $? = {command.exit_code} ]" if command.exit_code else ""
            lines += ["{", command.text, f"}} > output.{number} 2>&1{may_fail}"]
    return "\n".join(lines) + "\n"


def _matches(line: str, printed: str) -> bool:
    pattern = re.escape(line.strip())
    for varying, any_of in _VARIES:
        pattern = re.sub(varying, any_of, pattern)
    return re.search(pattern, printed) is not None
