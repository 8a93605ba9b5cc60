"""The group of commands: its help is light, its errors are messages with exit codes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import DailiesError, NoSuchBatch, Unreachable

HEAVY = ("boto3", "botocore", "flask", "pydantic", "redis", "rich", "rq", "structlog", "urllib3", "websockets", "yaml")


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have `dailies list` raise `error`."""

    @click.command()
    def command() -> None:
        raise error

    module: Any = type(sys)("pipeline.cli.commands.list")
    module.command = command
    monkeypatch.setitem(sys.modules, "pipeline.cli.commands.list", module)


def test_help_imports_click_and_nothing_heavy() -> None:
    probe = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pipeline.cli.main import main\n"
        "answer = CliRunner().invoke(main, ['--help'])\n"
        "assert answer.exit_code == 0 and 'submit' in answer.stdout\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith('pipeline.')])\n"
    )
    heavy, ours = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert heavy == "[]"
    assert ours == "['pipeline.cli', 'pipeline.errors', 'pipeline.cli.main']"


def test_help_names_every_command() -> None:
    answer = CliRunner().invoke(main.main, ["--help"])
    for name, help_line in main.COMMANDS.items():
        assert name in answer.stdout
        assert help_line in answer.stdout


@pytest.mark.parametrize(("error", "code"), [(NoSuchBatch("b"), 4), (Unreachable("gone"), 3), (DailiesError("x"), 1)])
def test_an_error_is_its_message_on_stderr_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: DailiesError, code: int
) -> None:
    raising(monkeypatch, error)
    answer = CliRunner().invoke(main.main, ["list"])
    assert answer.exit_code == code
    assert answer.stderr == f"{error}\n"
    assert answer.stdout == ""


def test_ctrl_c_ends_quietly_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    answer = CliRunner().invoke(main.main, ["list"])
    assert (answer.exit_code, answer.output) == (130, "")


@pytest.mark.parametrize(
    "line", ["nonsense", "status --nonsense", "items", "items b --status done", "retry b --status succeeded"]
)
def test_wrong_usage_exits_with_2(line: str) -> None:
    assert CliRunner().invoke(main.main, line.split()).exit_code == 2


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    answer = CliRunner().invoke(main.main, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "Usage:" in answer.stdout
