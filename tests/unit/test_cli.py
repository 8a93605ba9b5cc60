"""The command group: its help imports little, its errors are messages with exit codes."""

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
    """Make `dailies list` raise `error`."""

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
        "result = CliRunner().invoke(main, ['--help'])\n"
        "assert result.exit_code == 0 and 'submit' in result.stdout\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith('pipeline.')])\n"
    )
    heavy, ours = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert heavy == "[]"
    plain_text = "'pipeline.domain', 'pipeline.domain.plain_text'"
    assert ours == f"['pipeline.cli', {plain_text}, 'pipeline.errors', 'pipeline.cli.main']"


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main.main, ["--help"])
    for name, help_line in main.COMMANDS.items():
        assert name in result.stdout
        assert help_line in result.stdout


@pytest.mark.parametrize(("error", "code"), [(NoSuchBatch("b"), 4), (Unreachable("gone"), 3), (DailiesError("x"), 1)])
def test_an_error_is_its_message_on_stderr_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: DailiesError, code: int
) -> None:
    raising(monkeypatch, error)
    result = CliRunner().invoke(main.main, ["list"])
    assert result.exit_code == code
    assert result.stderr == f"{error}\n"
    assert result.stdout == ""


def test_ctrl_c_exits_with_130_and_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    result = CliRunner().invoke(main.main, ["list"])
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.parametrize(
    "line", ["nonsense", "status --nonsense", "items", "items b --status done", "retry b --status succeeded"]
)
def test_wrong_usage_exits_with_2(line: str) -> None:
    assert CliRunner().invoke(main.main, line.split()).exit_code == 2


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_a_help_text(name: str) -> None:
    result = CliRunner().invoke(main.main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.stdout
