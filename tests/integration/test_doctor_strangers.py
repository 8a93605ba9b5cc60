"""`doctor` names cause and fix of set-ups that strangers have: keys with line ends, proxies, buckets of others."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.quirky_s3 import QuirkyS3, Request, Response

from pipeline.cli.main import main
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox
from pipeline.storage.s3 import Storage

SIGNATURE = re.compile(r"Signature=|AWS4-HMAC")
NOBODY = "http://127.0.0.1:1"
Doctor = Callable[..., str]


@pytest.fixture
def doctor(
    redis_url: str, storage: Storage, s3_server: S3Env, bucket: str, sandbox: Sandbox, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Doctor:  # fmt: skip
    """`doctor(NAME=value, …)`: what it prints with these changes to a correct configuration; it finds one problem."""
    good = {
        **sandbox.environment,
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
        "PIPELINE_OUTPUT": bucket,
        "PIPELINE_API_TOKEN": "planted-token-of-the-api",
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.storage.s3._CONFIG", storage._config.merge(Storage(None, timeout_s=10)._config))

    def run(**changes: str) -> str:
        for name, value in {**good, **changes}.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(main, ["doctor"])
        assert isinstance(result.exception, SystemExit), result.output
        assert result.exit_code == 1
        assert "The check itself failed" not in result.output
        assert not SIGNATURE.search(result.output)
        printed = " ".join(result.output.split())
        assert "1 problem found." in printed
        return printed

    return run


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_line_end_in_a_key_of_s3_is_named(doctor: Doctor, name: str) -> None:
    printed = doctor(**{name: f"{os.environ[name]}\n"})
    assert f"{name} begins or ends with a blank or a line end. Remove it." in printed


@pytest.mark.parametrize(
    ("changes", "cause", "fix"),
    [
        pytest.param({"AWS_ENDPOINT_URL_S3": "127.0.0.1:9000"}, "Invalid endpoint", "like https://", id="S3 scheme"),
        pytest.param({"AWS_ENDPOINT_URL_S3": NOBODY}, "it refuses the connection", "Start the server", id="S3 down"),
        pytest.param(
            {"AWS_ENDPOINT_URL_S3": "http://no-such-host.invalid"}, "DNS has no record of the host",
            "correct AWS_ENDPOINT_URL_S3", id="S3 host",
        ),
        pytest.param({"PIPELINE_OUTPUT": "s3://No_Such/x/"}, "InvalidBucketName", "Correct the bucket", id="S3 name"),
        pytest.param({"WIRO_API_KEY": "a\nb"}, "WIRO_API_KEY contains a line end", "Correct it", id="vendor's key"),
        pytest.param(
            {"WIRO_API_URL": "127.0.0.1:9000/v1"}, "WIRO_API_URL is not a web address", "like https://", id="API's URL"
        ),
        pytest.param(
            {"PIPELINE_FETCH_HOSTS": "https://127.0.0.1/"}, "do not exist", "hosts such as *.wiro.ai", id="CDN"
        ),
        pytest.param(
            {"HTTP_PROXY": NOBODY, "NO_PROXY": ""}, "Failed to connect to proxy", "Correct HTTP_PROXY", id="HTTP proxy"
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_its_fix(doctor: Doctor, changes: dict[str, str], cause: str, fix: str) -> None:
    printed = doctor(**changes)
    assert cause in printed
    assert fix in printed


def test_a_web_server_in_place_of_redis_is_named(doctor: Doctor, s3_server: S3Env) -> None:
    printed = doctor(REDIS_URL=s3_server.endpoint.replace("http:", "redis:"))
    assert "does not speak the protocol of Redis. Correct the address in REDIS_URL." in printed


def denied(*methods: str, message: str = "Access Denied") -> Callable[[Request], Response | None]:
    return lambda request: Response.error(403, "AccessDenied", message) if request.method in methods else None


def no_reads(request: Request) -> Response | None:
    return None if request.is_listing else denied("GET", "HEAD")(request)


def page(status: int, **headers: str) -> Callable[[Request], Response | None]:
    sent = {"content-type": "text/html", **headers}
    return lambda request: Response(status, dict(sent), b"<html>a page</html>")


def small_bodies(request: Request) -> Response | None:
    return page(413)(request) if len(request.body) > 2**20 else None


@pytest.mark.parametrize(
    ("before", "cause", "fix"),
    [
        pytest.param(denied("PUT", "POST", "DELETE"), "a write failed", "Allow s3:PutObject", id="read-only"),
        pytest.param(
            denied("PUT", "GET", "HEAD"), "Listing is refused, too", "may be of another account", id="others'"
        ),
        pytest.param(no_reads, "a write worked, and a read failed", "Allow s3:GetObject", id="write-only"),
        pytest.param(denied("PUT", message="no kms:GenerateDataKey"), "a write failed", "Allow kms:", id="KMS"),
        pytest.param(
            lambda request: Response.error(507, "XMinioStorageFull"), "XMinioStorageFull", "no room left", id="full"
        ),
        pytest.param(page(200), "is no S3 document", "check AWS_ENDPOINT_URL_S3", id="200 for everything"),
        pytest.param(page(401), "That is not an answer of S3", "check AWS_ENDPOINT_URL_S3", id="login"),
        pytest.param(page(400), "That is not an answer of S3", "write https:// in AWS_ENDPOINT_URL_S3", id="TLS port"),
        pytest.param(
            page(301, location="https://s3.example.com/"),
            "S3 redirects every request",
            "https:// in place of http://",
            id="redirect to https",
        ),
        pytest.param(small_bodies, "A proxy before S3 limits the size", "client_max_body_size", id="small bodies"),
    ],
)
def test_what_a_bucket_or_a_proxy_before_s3_refuses_is_named_with_its_fix(
    doctor: Doctor, proxy: QuirkyS3, before: Callable[[Request], Response | None], cause: str, fix: str
) -> None:
    proxy.set("")
    proxy.before = before
    printed = doctor(AWS_ENDPOINT_URL_S3=proxy.url)
    assert cause in printed
    assert fix in printed
    assert "AWS_REQUEST_CHECKSUM_CALCULATION" not in printed, "no setting helps here"
