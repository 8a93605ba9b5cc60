"""The commands and policies in the docs match the Procfile and the code."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name

ROOT = Path(__file__).parents[2]
DEPLOY, TRIGGERS = ROOT / "docs/deploy.md", ROOT / "docs/triggers.md"
STORAGE = sorted((ROOT / "pipeline/storage").glob("*.py"))
SQS = [ROOT / "pipeline/triggers/sqs.py"]

BUCKET_ACTIONS = {
    "list_objects": ["s3:ListBucket"],
    "list_objects_v2": ["s3:ListBucket"],
    "list_multipart_uploads": ["s3:ListBucketMultipartUploads"],
}
OBJECT_ACTIONS = {
    "get_object": ["s3:GetObject"],
    "head_object": ["s3:GetObject"],
    "put_object": ["s3:PutObject"],
    "copy_object": ["s3:GetObject", "s3:PutObject"],
    "delete_object": ["s3:DeleteObject"],
    "create_multipart_upload": ["s3:PutObject"],
    "upload_part": ["s3:PutObject"],
    "complete_multipart_upload": ["s3:PutObject"],
    "abort_multipart_upload": ["s3:AbortMultipartUpload"],
}
QUEUE_ACTIONS = {
    "receive_message": ["sqs:ReceiveMessage"],
    "delete_message_batch": ["sqs:DeleteMessage"],
    "change_message_visibility_batch": ["sqs:ChangeMessageVisibility"],
    "get_queue_attributes": ["sqs:GetQueueAttributes"],
}
"""{operation of the client: actions that it needs}, by the type of the resource in the policy."""


def procfile_commands() -> list[str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return sorted(line.partition(":")[2].strip() for line in lines if line.strip())


def unit_commands() -> list[str]:
    """Return the commands of all ExecStart lines, without the path of the virtual environment."""
    commands = re.findall(r"^ExecStart=(.+)$", DEPLOY.read_text(), re.M)
    return sorted(command.removeprefix("/opt/dailies/.venv/bin/") for command in commands)


def used_operations(service: str, files: list[Path]) -> set[str]:
    """Return the operations of a boto3 client whose names are attributes or texts in `files`."""
    client = boto3.client(service, region_name="eu-central-1")  # type: ignore[call-overload]  # any service
    operations = {xform_name(name) for name in client.meta.service_model.operation_names}
    return {name for file in files for name in _names(file)} & operations


def _names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # get_paginator("list_objects_v2"), generate_presigned_url("get_object")
            yield node.value


def policy_actions(file: Path, resource: str) -> set[str]:
    """Return the actions that the policy in `file` allows on resources which match `resource`."""
    (policy,) = (block for block in re.findall(r"```json\n(.*?)```", file.read_text(), re.S) if "Statement" in block)
    return {
        action
        for statement in json.loads(policy)["Statement"]
        if any(re.fullmatch(resource, name) for name in _as_list(statement["Resource"]))
        for action in _as_list(statement["Action"])
    }


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_systemd_units_run_the_commands_of_the_procfile() -> None:
    assert unit_commands() == procfile_commands()


def test_the_storage_code_uses_only_operations_with_known_actions() -> None:
    assert used_operations("s3", STORAGE) == BUCKET_ACTIONS.keys() | OBJECT_ACTIONS.keys()
    assert used_operations("sqs", SQS) == QUEUE_ACTIONS.keys()


@pytest.mark.parametrize(
    ("file", "resource", "needed"),
    [
        (DEPLOY, r"arn:aws:s3:::[^/]+", BUCKET_ACTIONS),
        (DEPLOY, r"arn:aws:s3:::.+/\*", OBJECT_ACTIONS),
        (TRIGGERS, r"arn:aws:s3:::[^/]+", BUCKET_ACTIONS),
        (TRIGGERS, r"arn:aws:s3:::.+/\*", OBJECT_ACTIONS),
        (TRIGGERS, r"arn:aws:sqs:.+", QUEUE_ACTIONS),
    ],
)
def test_a_policy_allows_exactly_the_actions_of_the_code(
    file: Path, resource: str, needed: dict[str, list[str]]
) -> None:
    assert policy_actions(file, resource) == {action for actions in needed.values() for action in actions}
