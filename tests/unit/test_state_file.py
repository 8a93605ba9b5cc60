"""How other commands find a running `up`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pipeline.local.state_file import (
    FILE,
    completed,
    environment,
    find_state,
    write_environment,
    write_shell_file,
)

UP = {
    "REDIS_URL": "redis://127.0.0.1:1234/0",
    "PIPELINE_OUTPUT": "s3://local/",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:4321",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local-secret",
    "WIRO_API_KEY": "sandbox-key",
}


def test_the_file_is_read_back_and_readable_by_this_user_only(tmp_path: Path) -> None:
    write_environment(tmp_path, UP)
    assert environment(tmp_path) == UP
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_without_a_running_up_nothing_is_added(tmp_path: Path) -> None:
    assert completed({"HOME": "/root"}, tmp_path / "none") == {"HOME": "/root"}
    (tmp_path / FILE).write_text("{broken")
    assert completed({"HOME": "/root"}, tmp_path) == {"HOME": "/root"}


def test_with_redis_url_set_a_running_up_is_ignored(tmp_path: Path) -> None:
    write_environment(tmp_path, UP)
    assert completed({"REDIS_URL": "redis://elsewhere"}, tmp_path) == {"REDIS_URL": "redis://elsewhere"}


def test_the_users_settings_win_and_empty_means_not_set(tmp_path: Path) -> None:
    write_environment(tmp_path, UP)
    settings = completed({"WIRO_API_KEY": "mine", "REDIS_URL": ""}, tmp_path)
    assert settings["WIRO_API_KEY"] == "mine"
    assert settings["REDIS_URL"] == UP["REDIS_URL"]


def test_keys_for_another_s3_are_not_used_with_the_server_of_up(tmp_path: Path) -> None:
    write_environment(tmp_path, UP)
    settings = completed({"AWS_ACCESS_KEY_ID": "real", "AWS_SESSION_TOKEN": "real", "AWS_PROFILE": "work"}, tmp_path)
    assert settings["AWS_ACCESS_KEY_ID"] == "local"
    assert "AWS_SESSION_TOKEN" not in settings
    assert "AWS_PROFILE" not in settings


def test_a_server_that_the_user_names_keeps_the_users_keys(tmp_path: Path) -> None:
    write_environment(tmp_path, UP)
    settings = completed({"AWS_ENDPOINT_URL_S3": "https://s3.example", "AWS_ACCESS_KEY_ID": "real"}, tmp_path)
    assert (settings["AWS_ENDPOINT_URL_S3"], settings["AWS_ACCESS_KEY_ID"]) == ("https://s3.example", "real")


def test_only_settings_are_taken_from_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({**UP, "LD_PRELOAD": "/tmp/x.so", "PATH": "/tmp"}))
    assert environment(tmp_path) == UP


def test_the_folder_of_up_is_found_here_and_in_parent_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "photos" / "june"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_state(Path(), Path("var")) is None
    (tmp_path / "var").mkdir()
    write_environment(tmp_path / "var", UP)
    assert find_state(Path(), Path("var")) == tmp_path / "var"
    monkeypatch.chdir(tmp_path)
    assert find_state(Path(), Path("var")) == Path("var")


def test_the_settings_of_another_user_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    write_environment(tmp_path / "var", UP)
    monkeypatch.setattr("os.getuid", lambda: (tmp_path / "var").stat().st_uid + 1)
    assert find_state(Path(), Path("var")) is None


def test_the_file_for_the_aws_command_line_has_the_keys_of_our_server_only(tmp_path: Path) -> None:
    file = write_shell_file(tmp_path, {**UP, "AWS_SECRET_ACCESS_KEY": "it's $secret"})
    assert file.stat().st_mode & 0o777 == 0o600
    environ = {"PATH": os.environ["PATH"], "AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "real"}
    printed = subprocess.run(
        ["sh", "-c", f". {file} && env"], env=environ, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert sorted(line for line in printed if line.startswith("AWS_")) == [
        "AWS_ACCESS_KEY_ID=local",
        "AWS_ENDPOINT_URL_S3=http://127.0.0.1:4321",
        "AWS_SECRET_ACCESS_KEY=it's $secret",
    ]
    assert "WIRO_API_KEY" not in file.read_text()
