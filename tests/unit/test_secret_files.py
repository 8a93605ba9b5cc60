"""Secrets from files: NAME_FILE in place of NAME."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from pipeline.cli.main import main
from pipeline.cli.options import settings as command_settings
from pipeline.errors import InvalidSettings
from pipeline.settings import Settings, environment_name, load, with_secret_files

NOWHERE = Path("/nonexistent.yaml")
KEY = "whsec_" + "A" * 40
FILES = {
    "REDIS_URL": "redis://:planted-1@127.0.0.1:1/0",
    "WIRO_API_KEY": "planted-key",
    "WIRO_API_SECRET": "planted-secret",
    "PIPELINE_SECRET": "planted-new,planted-old",
    "PIPELINE_API_TOKEN": "planted-token-0123456789",
    "PIPELINE_EVENTS_TOKEN": "planted-events-0123456789",
    "PIPELINE_NOTIFY_SECRET": KEY,
}


def in_files(folder: Path, values: dict[str, str], end: str = "\n") -> dict[str, str]:
    """Write a file for each value. Return the variables that name the files."""
    for name, value in values.items():
        (folder / name).write_bytes(f"{value}{end}".encode())
    return {f"{name}_FILE": str(folder / name) for name in values}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_can_be_in_a_file(tmp_path: Path, end: str) -> None:
    assert load(in_files(tmp_path, FILES, end), NOWHERE) == load(FILES, NOWHERE)


def test_no_secret_is_left_out() -> None:
    secrets = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert {environment_name(name) for name in [*secrets, "redis_url"]} == FILES.keys()


def test_a_secret_keeps_its_blanks_and_only_one_line_end_is_removed(tmp_path: Path) -> None:
    assert load(in_files(tmp_path, {"PIPELINE_SECRET": " a b "}), NOWHERE).secret == SecretStr(" a b ")
    with pytest.raises(InvalidSettings, match="it is not one line of text"):
        load(in_files(tmp_path, {"PIPELINE_SECRET": "planted"}, "\n\n"), NOWHERE)


def test_an_editor_may_add_a_byte_order_mark(tmp_path: Path) -> None:
    assert load(in_files(tmp_path, {"PIPELINE_SECRET": "\ufeffplanted"}), NOWHERE).secret == SecretStr("planted")


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    files = in_files(tmp_path, {"WIRO_API_KEY": "planted"})
    assert load({**files, "WIRO_API_KEY": "", "PIPELINE_SECRET_FILE": ""}, NOWHERE).wiro_api_key == SecretStr("planted")


def test_every_file_that_cannot_be_used_is_named_with_the_reason_and_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "bytes").write_bytes(b"planted\xff")
    (tmp_path / "lines").write_bytes(b"planted\nplanted\n")
    (tmp_path / "long").write_bytes(b"planted" * 20_000)
    os.mkfifo(tmp_path / "pipe")
    environ = {
        "REDIS_URL_FILE": str(tmp_path / "missing"),
        "WIRO_API_KEY_FILE": str(tmp_path / "empty"),
        "WIRO_API_SECRET_FILE": str(tmp_path / "bytes"),
        "PIPELINE_SECRET_FILE": str(tmp_path / "lines"),
        "PIPELINE_API_TOKEN_FILE": str(tmp_path),
        "PIPELINE_EVENTS_TOKEN_FILE": str(tmp_path / "pipe"),
        "PIPELINE_NOTIFY_SECRET_FILE": str(tmp_path / "long"),
    }
    with pytest.raises(InvalidSettings) as caught:
        load(environ, NOWHERE)
    advice = "Write the secret into it, as one line."
    assert str(caught.value).splitlines() == [
        f"REDIS_URL_FILE: {tmp_path}/missing cannot be used: No such file or directory. {advice}",
        f"WIRO_API_KEY_FILE: {tmp_path}/empty cannot be used: it is empty. {advice}",
        f"WIRO_API_SECRET_FILE: {tmp_path}/bytes cannot be used: it is not UTF-8 text. {advice}",
        f"PIPELINE_SECRET_FILE: {tmp_path}/lines cannot be used: it is not one line of text. {advice}",
        f"PIPELINE_API_TOKEN_FILE: {tmp_path} cannot be used: it is not a file. {advice}",
        f"PIPELINE_EVENTS_TOKEN_FILE: {tmp_path}/pipe cannot be used: it is not a file. {advice}",
        f"PIPELINE_NOTIFY_SECRET_FILE: {tmp_path}/long cannot be used: it is not one line of text. {advice}",
    ]


def test_both_ways_at_once_are_an_error(tmp_path: Path) -> None:
    files = in_files(tmp_path, {"WIRO_API_KEY": "planted-1"})
    with pytest.raises(InvalidSettings) as caught:
        load({**files, "WIRO_API_KEY": "planted-2"}, NOWHERE)
    assert str(caught.value) == "WIRO_API_KEY and WIRO_API_KEY_FILE are both set. Unset one of them."


def test_what_is_passed_on_to_other_processes_has_the_secrets_and_no_names_of_files(tmp_path: Path) -> None:
    environ = with_secret_files({**in_files(tmp_path, FILES), "PATH": "/bin"})
    assert environ == {**FILES, "PATH": "/bin"}
    assert with_secret_files(environ) == environ


def test_commands_read_secrets_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    for name, file in in_files(tmp_path, {"REDIS_URL": FILES["REDIS_URL"]}).items():
        monkeypatch.setenv(name, file)
    # It is the user's Redis, so that of a running `up` is not used.
    (tmp_path / "env.json").write_text('{"REDIS_URL": "redis://127.0.0.1:2/0"}')
    monkeypatch.setenv("REDIS_URL", "")
    assert command_settings(tmp_path).redis_url == FILES["REDIS_URL"]


def test_doctor_names_a_secret_file_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WIRO_API_KEY", raising=False)
    monkeypatch.setenv("WIRO_API_KEY_FILE", str(tmp_path / "missing"))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "WIRO_API_KEY_FILE" in result.output
    assert "No such file or directory" in " ".join(result.output.split())
