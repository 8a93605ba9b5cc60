"""A stand-in for the AWS command line: as much of it as the pages use. boto3 sends the requests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore import xform_name

_RENAMED = {"Endpoint": "notification-endpoint"}
"""Where the command line has another name than the API."""


def main(arguments: list[str]) -> None:
    """Run `aws SERVICE OPERATION …`."""
    service, operation, *rest = arguments
    if service == "s3":
        _copy(rest) if operation == "cp" else _list(rest)
    else:
        _call({"s3api": "s3"}.get(service, service), operation, rest)


def _copy(arguments: list[str]) -> None:
    source, target = [argument for argument in arguments if argument != "--recursive"]
    s3: Any = boto3.client("s3")
    if source.startswith("s3://"):
        bucket, _, key = source.removeprefix("s3://").partition("/")
        assert target == "-"
        sys.stdout.buffer.write(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return
    bucket, _, prefix = target.removeprefix("s3://").partition("/")
    for file in sorted(Path(source).iterdir()) if "--recursive" in arguments else [Path(source)]:
        key = f"{prefix.rstrip('/')}/{file.name}" if "--recursive" in arguments or prefix.endswith("/") else prefix
        s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())


def _list(arguments: list[str]) -> None:
    bucket, _, prefix = arguments[0].removeprefix("s3://").partition("/")
    s3: Any = boto3.client("s3")
    for one in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        print(one["Key"])


def _call(service: str, operation: str, arguments: list[str]) -> None:
    options = {name.removeprefix("--"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}
    query = options.pop("query", None)
    assert options.pop("output", "text") == "text"
    client: Any = boto3.client(service, region_name=options.pop("region", "eu-central-1"))  # type: ignore[call-overload]
    method = operation.replace("-", "_")
    names = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape.members
    members = {_RENAMED.get(name, xform_name(name).replace("_", "-")): name for name in names}
    response = getattr(client, method)(**{members[name]: _value(value) for name, value in options.items()})
    print(response[query] if query else json.dumps(response, default=str))


def _value(text: str) -> Any:
    if text.startswith("file://"):
        return json.loads(Path(text.removeprefix("file://")).read_text())
    name, equals, value = text.partition("=")
    return {name: value} if equals else text


if __name__ == "__main__":
    main(sys.argv[1:])
