"""Every command of the pages for users runs as it stands, in their order, in one shell."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import boto3
import pytest
from support.doc_blocks import ROOT, START, Command, blocks, commands, run
from support.processes import bare_environment

QUICK = {"PIPELINE_POLL_AFTER_S": "5", "PIPELINE_SWEEP_EVERY_S": "5"}
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "var", "node_modules", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", ".cache"
)
AWS = ". var/aws.sh && aws s3 ls s3://dailies/batches/"
FAILING = {"dailies validate wrong.yaml": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the pages use, where nothing of the repository can be changed."""
    folder = tmp_path / "dailies"
    for name in ("config", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Procfile", folder)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell with the commands `dailies` and `aws`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    scripts = {"dailies": "-m pipeline", "aws": str(ROOT / "tests/support/aws_command.py")}
    for name, arguments in scripts.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**bare_environment(), **QUICK, "PATH": path, "PYTHONPATH": str(ROOT)}


def test_the_readme_runs_in_a_fresh_environment(tmp_path: Path) -> None:
    folder = tmp_path / "dailies"
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    page = commands("README.md")
    assert any("pip install --require-hashes" in command.text for command in page)
    environment = {**bare_environment(), **QUICK}
    environment.pop("PYTHONPATH", None)
    run(page, folder, environment, timeout_s=1200)


def test_the_page_of_the_manifest_runs(folder: Path, environment: dict[str, str]) -> None:
    (wrong,) = (
        block.text for block in blocks("docs/manifest.md") if "LA Street" in block.text and block.language == "yaml"
    )
    (folder / "wrong.yaml").write_text(wrong)
    run([Command(START), *commands("docs/manifest.md", failing=FAILING)], folder, environment, timeout_s=600)


def test_the_page_of_the_schedules_runs(folder: Path, environment: dict[str, str]) -> None:
    (schedules,) = (block.text for block in blocks("docs/schedules.md") if block.text.startswith("schedules:"))
    (folder / "config/schedules.yaml").write_text(schedules)
    run([Command(START), *commands("docs/schedules.md")], folder, environment, timeout_s=600)


def test_the_page_of_the_triggers_runs(folder: Path, environment: dict[str, str]) -> None:
    page = commands("docs/triggers.md")
    own = page[: 1 + next(n for n, command in enumerate(page) if command.words == "dailies watch last")]
    ready = (
        "Ready…",
        "…: . var/aws.sh && aws s3 ls s3://dailies/batches/",
        "Open http://127.0.0.1:8000/sign-in?code=…",
    )
    run([Command(START, ready), Command(AWS), *own], folder, environment, timeout_s=600)
    assert stat.S_IMODE((folder / "var/aws.sh").stat().st_mode) == 0o600


def test_the_commands_for_aws_run(folder: Path, environment: dict[str, str], aws: str) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1"}
    cloud = boto3.client(
        "s3", endpoint_url=aws, aws_access_key_id="x", aws_secret_access_key="x", region_name="eu-central-1"
    )
    cloud.create_bucket(Bucket="my-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    page = commands("docs/triggers.md")
    rest = page[1 + next(n for n, command in enumerate(page) if command.words == "dailies watch last") :]
    run(rest, folder, {**environment, **keys, "AWS_ENDPOINT_URL": aws}, timeout_s=300)
    (queue,) = cloud.get_bucket_notification_configuration(Bucket="my-bucket")["QueueConfigurations"]
    assert queue["QueueArn"].endswith(":dailies")
