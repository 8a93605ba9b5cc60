"""The command group: its help imports little, its errors are messages with exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.cli.waiting import waiting_for
from pipeline.errors import DailiesError, NoSuchBatch, Unreachable
from pipeline.user_agent import VERSION

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


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_takes_h_for_help(name: str) -> None:
    assert CliRunner().invoke(main.main, [name, "-h"]).output == CliRunner().invoke(main.main, [name, "--help"]).output
    assert CliRunner().invoke(main.main, ["schedules", "run", "-h"]).exit_code == 0


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(main.main, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"dailies {VERSION}\n")


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("sumbit x.yaml", "'submit'"),
        ("submit x.yaml --promt a", "--prompt"),
        ("schedules puase nightly", "'pause'"),
        ("items b --status faild", "'failed'"),
        ("completion zhs", "'zsh'"),
    ],
)
def test_a_typo_gets_a_suggestion(line: str, suggestion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cli.batch_ids.BatchId.convert", lambda self, value, param, ctx: value)
    result = CliRunner().invoke(main.main, line.split())
    assert result.exit_code == 2
    assert "id you mean" in result.stderr
    assert suggestion in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell(shell: str) -> None:
    result = CliRunner().invoke(main.main, ["completion", shell])
    assert result.exit_code == 0
    assert "_DAILIES_COMPLETE" in result.stdout


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str, at: int) -> str:
        environ = {"_DAILIES_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        return CliRunner().invoke(main.main, [], prog_name="dailies", env=environ).stdout

    assert completed("dailies sub", 1) == "plain,submit\n"
    assert "plain,--budget" in completed("dailies submit --", 2)


def test_ctrl_c_while_waiting_reports_that_the_batch_continues(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), waiting_for("la-1", tmp_path / "my state"):
        raise KeyboardInterrupt
    message = capsys.readouterr().err
    assert "batch la-1 goes on" in message
    assert f"`dailies watch la-1 --state '{tmp_path}/my state'`" in message


def test_without_a_running_up_the_message_states_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr("pipeline.ledger.ledger.Ledger.connect", lambda url: _NoRedis())
    result = CliRunner().invoke(main.main, ["list"])
    assert result.exit_code == 3
    assert "no running `dailies up` in ./var or above" in result.stderr
    result = CliRunner().invoke(main.main, ["status", "b", "--state", "elsewhere"])
    assert "no running `dailies up` in elsewhere" in result.stderr
    monkeypatch.setenv("REDIS_URL", "redis://redis.example")
    assert "gone" in CliRunner().invoke(main.main, ["list"]).stderr


class _NoRedis:
    def check_schema(self) -> None:
        raise Unreachable("gone")
