"""`doctor` and /readyz name what an S3 server lacks and what to do, and leave no object."""

from __future__ import annotations

import pytest
from support.quirky_s3 import QuirkyS3
from support.waiting import WaitFor

from pipeline.doctor.findings import Finding, Severity
from pipeline.doctor.storage import check_bucket, without_bucket
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage, split
from pipeline.web.app import create_app


def check(proxy: QuirkyS3, bucket: str, *quirks: str) -> list[Finding]:
    proxy.set(*quirks)
    return list(check_bucket(Settings(s3_endpoint=proxy.url, output=bucket)))


def found(findings: list[Finding], severity: Severity) -> dict[str, str]:
    return {one.subject: f"{one.message} {one.fix}" for one in findings if one.severity is severity}


def test_a_server_with_everything_has_no_problem(proxy: QuirkyS3, storage: Storage, bucket: str) -> None:
    findings = check(proxy, bucket)
    assert {finding.severity for finding in findings} == {Severity.OK}
    assert list(storage.list(bucket)) == []


@pytest.mark.parametrize(
    ("quirk", "subject", "words"),
    [
        ("missing is 403", "S3 missing objects", "Allow s3:ListBucket"),
        ("listing refused", "S3 listing", "Allow s3:ListBucket"),
        ("listing empty", "S3 listing", "lacks an object that was just written"),
        ("checksum demanded", "S3", "AWS_REQUEST_CHECKSUM_CALCULATION=when_supported"),
        ("no multipart", "S3 uploads", "outputs above 1 MiB are not stored"),
        ("no copy", "S3 copies", "images that were uploaded cannot be submitted"),
        ("clock", "S3", "NTP"),
        ("no bucket", "S3", "Create the bucket"),
        ("region", "S3", "AWS_DEFAULT_REGION"),
    ],
)
def test_what_is_missing_is_a_problem_with_its_cause_and_fix(
    quirk: str, subject: str, words: str, proxy: QuirkyS3, storage: Storage, bucket: str
) -> None:
    problems = found(check(proxy, bucket, quirk), Severity.WRONG)
    assert list(problems) == [subject]
    assert words in problems[subject]
    assert list(storage.list(bucket)) == []


def test_a_refused_checksum_names_the_setting(
    proxy: QuirkyS3, storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    problems = found(check(proxy, bucket, "checksum refused"), Severity.WRONG)
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required for all processes" in problems["S3"]
    assert list(storage.list(bucket)) == []


@pytest.mark.parametrize(
    ("quirk", "words"),
    [
        ("If-Match: 501", "does not support If-Match"),
        ("weak ETags that match nothing", "does not support If-Match"),
        ("If-Match ignored", "ignores If-Match"),
        ("If-None-Match: 501", "does not support If-None-Match"),
        ("If-None-Match ignored", "ignores If-None-Match"),
    ],
)
def test_what_the_service_copes_with_is_a_note(
    quirk: str, words: str, proxy: QuirkyS3, storage: Storage, bucket: str
) -> None:
    findings = check(proxy, bucket, quirk)
    assert found(findings, Severity.WRONG) == {}
    notes = found(findings, Severity.NOTE)
    assert words in notes["S3 conditions"]
    assert "The service compares before it writes" in notes["S3 conditions"]
    assert list(storage.list(bucket)) == []


def test_an_endpoint_that_holds_the_bucket_is_found_by_where_the_objects_are(
    proxy: QuirkyS3, storage: Storage, bucket: str
) -> None:
    proxy.set("")
    name, _ = split(bucket)
    settings = Settings(s3_endpoint=f"{proxy.url}/{name}", output=bucket)
    problems = found(list(check_bucket(settings)), Severity.WRONG)
    assert f"objects are written to {name}/{name}/" in problems["S3 endpoint"]
    assert f"AWS_ENDPOINT_URL_S3={proxy.url}." in problems["S3 endpoint"]
    assert list(storage.list(f"s3://{name}/{name}/")) == []


@pytest.mark.parametrize(
    ("endpoint", "corrected"),
    [
        ("https://films.s3.example.com", "https://s3.example.com"),
        ("https://s3.example.com/films/", "https://s3.example.com"),
        ("https://s3.example.com", None),
        (None, None),
    ],
)
def test_the_bucket_is_removed_from_an_endpoint(endpoint: str | None, corrected: str | None) -> None:
    assert without_bucket(endpoint, "films") == corrected


@pytest.mark.parametrize(
    ("quirk", "status", "words"),
    [
        ("", 200, "ok"),
        ("missing is 403", 503, "refuses"),
        ("no bucket", 503, "refuses"),
        ("region", 503, "refuses"),
        ("busy", 503, "does not answer"),
    ],
)
def test_readyz_is_ready_only_if_the_bucket_can_be_read(
    quirk: str,
    status: int,
    words: str,
    proxy: QuirkyS3,
    storage: Storage,
    redis_url: str,
    bucket: str,
    wait_for: WaitFor,
) -> None:
    proxy.set(quirk)
    client = create_app(Settings(redis_url=redis_url, s3_endpoint=proxy.url, output=bucket)).test_client()

    def is_reported() -> bool:
        response = client.get("/readyz")
        return response.status_code == status and str((response.json or {})["s3"]).startswith(words)

    # On a busy machine the first check may take longer than its limit.
    wait_for(is_reported, "the result of the check")
