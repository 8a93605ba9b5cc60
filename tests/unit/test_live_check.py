"""`doctor --live`: what observations mean, the shape of a body, the report."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pipeline.doctor import live_findings
from pipeline.doctor.findings import Severity, note, ok, wrong
from pipeline.doctor.live_report import Redactor, markdown, report_name
from pipeline.doctor.output_request import OutputResponse, host_pattern
from pipeline.ledger.live_checks import ReceivedCallback
from pipeline.wiro.body_shape import MAX_SHAPE_CHARS, body_shape
from pipeline.wiro.client import TaskOutput
from pipeline.wiro.errors import AccountRefused, NotFound, RateLimited, WiroError
from pipeline.wiro.model_price import PriceEstimate

NOW = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
OUTPUT = TaskOutput("0.mp4", "video/mp4", 1000, "https://cdn1.wiro.ai/x/0.mp4", expires=NOW + timedelta(days=1))
RESPONSE = OutputResponse(("*.wiro.ai",), (), 200, "video/mp4", 1000)
CALLBACK = ReceivedCallback(NOW, 503, ("Content-Type", "Host"), "application/json", "{id: text}", names_task=True)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b"", "empty"),
        (b"task ended", "not JSON, 10 bytes"),
        (b"\xff\xfe{", "not JSON, 3 bytes"),
        (b'{"id": "2221", "pexit": null, "ok": true}', "{id: number as text, pexit: null, ok: true or false}"),
        (
            b'{"outputs": [{"url": "https://x"}, 2], "n": 1.5, "e": ""}',
            "{outputs: [{url: text}], n: number, e: empty text}",
        ),
        (b'{"https://x/secret": 1, "2221": 2}', "{(no name): number, (no name): number}"),
        (b"[" * 20 + b"]" * 20, "[[[[[[…]]]]]]"),
    ],
)
def test_the_shape_of_a_body_has_keys_and_types_only(body: bytes, shape: str) -> None:
    assert body_shape(body) == shape


def test_a_shape_is_bounded() -> None:
    inner = ",".join(f'"k{"x" * 50}{number}": 1' for number in range(200))
    many = "{" + ",".join(f'"a{number}": {{{inner}}}' for number in range(20)) + "}"
    assert len(body_shape(many.encode())) == MAX_SHAPE_CHARS


@pytest.mark.parametrize(
    ("refusal", "severity", "text"),
    [
        (NotFound("Task is not in a cancellable state."), Severity.OK, "Task is not in a cancellable state."),
        (None, Severity.NOTE, "accepted"),
        (AccountRefused("You don't have any permission for this action."), Severity.NOTE, "AccountRefused"),
    ],
)
def test_cancel_and_kill_of_an_ended_task_are_judged_by_their_refusal(
    refusal: WiroError | None, severity: Severity, text: str
) -> None:
    finding = live_findings.stop_refused("Kill", refusal)
    assert finding.severity is severity
    assert text in finding.message


def test_a_nonce_is_not_tested_without_a_signature_or_with_another_refusal() -> None:
    assert "WIRO_API_SECRET" in live_findings.nonce(None).fix
    assert "not tested (RateLimited)" in live_findings.nonce(RateLimited("Too many requests")).message


@pytest.mark.parametrize(
    ("callbacks", "subject", "severity", "text"),
    [
        ([CALLBACK], "callback: attempts", Severity.NOTE, "none followed within 30 s"),
        ([replace(CALLBACK, names_task=False)], "callback: body", Severity.NOTE, "names no task"),
        ([replace(CALLBACK, headers=("X-Signature",))], "callback: headers", Severity.NOTE, "may be a signature"),
        ([replace(CALLBACK, received=NOW - timedelta(seconds=2))], "callback", Severity.OK, "2 s before the end"),
    ],
)
def test_callbacks_that_differ_from_the_assumption_are_notes(
    callbacks: list[ReceivedCallback], subject: str, severity: Severity, text: str
) -> None:
    found = {finding.subject: finding for finding in live_findings.callbacks(callbacks, NOW, waited_s=60, quiet_s=30)}
    assert found[subject].severity is severity
    assert text in found[subject].message


@pytest.mark.parametrize(
    ("response", "severity", "text"),
    [
        (RESPONSE, Severity.OK, "as Task/Detail states"),
        (replace(RESPONSE, status=403), Severity.WRONG, "HTTP 403"),
        (replace(RESPONSE, content_type="application/octet-stream"), Severity.NOTE, "Task/Detail states video/mp4"),
        (replace(RESPONSE, size=999), Severity.WRONG, "no copy is made"),
        (replace(RESPONSE, size=None), Severity.OK, "no size"),
        (OutputResponse(("*.wiro.ai",), error="AddressRefused"), Severity.WRONG, "AddressRefused"),
    ],
)
def test_the_response_for_an_output_is_compared_with_detail(
    response: OutputResponse, severity: Severity, text: str
) -> None:
    finding = live_findings.output_response(OUTPUT, response, 4096)
    assert (finding.severity, text in finding.message) == (severity, True), finding


def test_a_redirect_to_a_host_that_is_not_allowed_is_a_problem() -> None:
    finding = live_findings.output_host(OutputResponse(("*.wiro.ai", "*.example.com"), ("*.example.com",), 200))
    assert finding.severity is Severity.WRONG
    assert "after 1 redirect" in finding.message
    assert finding.fix == "Add *.example.com to PIPELINE_FETCH_HOSTS."


@pytest.mark.parametrize(
    ("expires", "severity"),
    [(None, Severity.NOTE), (NOW + timedelta(minutes=5), Severity.NOTE), (NOW + timedelta(days=1), Severity.OK)],
)
def test_a_short_or_unknown_life_of_an_output_is_a_note(expires: datetime | None, severity: Severity) -> None:
    assert live_findings.output_expiry(replace(OUTPUT, expires=expires), NOW).severity is severity


def test_a_charge_above_the_budget_is_a_problem() -> None:
    stated = PriceEstimate(Decimal("0.50"), Decimal("0.50"), "")
    assert live_findings.price(stated, Decimal("1.01"), Decimal(1)).severity is Severity.WRONG
    assert live_findings.price(stated, Decimal("0.40"), Decimal(1)).severity is Severity.NOTE


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("https://cdn1.wiro.ai/a/0.mp4", "*.wiro.ai"),
        ("https://wiro.ai/a", "wiro.ai"),
        ("http://127.0.0.1:8700/cdn", "127.0.0.1:8700"),
        ("https://10.0.0.1/cdn", "10.0.0.1"),
        ("https://a.b.example.com:8443/x", "a.b.example.com:8443"),
        ("https://user:pass@a.b.example.com:8443/x", "an invalid URL"),
        ("http://cdn1.wiro.ai/a", "cdn1.wiro.ai"),
        ("https://cdn1.wiro.ai:port/a", "an invalid URL"),
    ],
)
def test_a_host_is_named_as_the_setting_takes_it(url: str, pattern: str) -> None:
    assert host_pattern(url) == pattern


def test_the_report_has_no_secret_no_id_and_no_url() -> None:
    redactor = Redactor(["secret-key", "a,b"])
    redactor.add("2221", "eDcC-token", "")
    findings = [
        wrong(
            "run", "Task 2221 (eDcC-token) at https://cdn1.wiro.ai/2221/0.mp4|x failed: secret-key", "See wss://x/y."
        ),
        note("size", "12221 bytes, a | b\nc"),
    ]
    page = markdown("owner/model", [redactor.redact(finding) for finding in findings], NOW)
    assert "| **problem** | run | Task (id) ((id)) at (URL)\\|x failed: (secret) | See (URL) |" in page
    assert "| **note** | size | 12221 bytes, a \\| b c |  |" in page
    assert "2026-11-26 09:30 UTC" in page
    assert report_name(NOW) == "dailies-live-report-20261126T0930Z.md"


def test_what_is_as_assumed_is_marked() -> None:
    assert "| as assumed | run | ok |" in markdown("owner/model", [ok("run", "ok")], NOW)
