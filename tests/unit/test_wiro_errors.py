"""Refusals of the vendor, from status and body."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from pipeline.wiro.errors import (
    AccountRefused,
    InsufficientBalance,
    Invalid,
    ModelNotAllowed,
    NoResponse,
    NoSuchEndpoint,
    NotAuthorized,
    NotFound,
    RateLimited,
    TooManyTasks,
    VendorFault,
    WiroError,
    printable_message,
)
from pipeline.wiro.refusals import refusal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def refused(document: dict[str, Any] | None, status: int = 200, **headers: str) -> WiroError | None:
    return refusal(status, {name.replace("_", "-"): value for name, value in headers.items()}, document, NOW)


def error_body(code: object, message: object = "") -> dict[str, Any]:
    return {"result": False, "errors": [{"code": code, "message": message}]}


TABLE: list[tuple[int, object, str, type[WiroError]]] = [
    (200, 0, "Missing required parameter: prompt", Invalid),
    (200, 0, "duration must be between 1 and 10", Invalid),
    (200, 0, "file required", Invalid),
    (200, 0, "Request parameter [prompt] required", Invalid),
    (200, 0, "Request parameter [seed] must be integer or float", Invalid),
    (200, 0, "Request parameter [duration] must be between 1 and 9", Invalid),
    (200, 0, "Request parameter [timeout] must be between 1 and 9", Invalid),
    (200, 0, "Request parameter [server_busy_try_again] required", Invalid),
    (200, 0, "Request files [inputImage] required", Invalid),
    (200, 0, "Request parameters are invalid.", Invalid),
    (200, 0, "This name is not allowed", Invalid),
    (200, 0, "taskid or socketaccesstoken is required", Invalid),
    (200, 0, "Request parameter [spend limit] required", Invalid),
    (200, 0, "The value of [required] was lost", VendorFault),
    (200, 0, "Your account has been suspended. Please contact support if …", AccountRefused),
    (200, 0, "You don't have any permission for this action.", AccountRefused),
    (200, 0, "You don’t have any permission for this action.", AccountRefused),
    (200, 0, "Team spend limit has been reached", AccountRefused),
    (200, 0, "Your personal spend limit in this team has been reached", AccountRefused),
    (200, 0, "This model is not allowed in your team. Contact your team admin.", ModelNotAllowed),
    (200, 0, "This model is not available for your team", ModelNotAllowed),
    (200, 0, "Project authorization is not founded.", NotAuthorized),
    (200, 1, "tool-not-accessible", NotFound),
    (200, 1, "slug-owner-project-not-exist", NotFound),
    (200, 1, "Task is not in a cancellable state.", NotFound),
    (200, 1, "Task could not be killed: the server is busy, try again", NotFound),
    (200, 0, "An internal server error occurred", VendorFault),
    (200, 0, "Something went wrong, please try again", VendorFault),
    (200, 0, "Invalid response of the server, try again later", VendorFault),
    (200, 0, "Unable to process", VendorFault),
    (200, 0, "", VendorFault),
    (200, 1, "There is no task yet.", NotFound),
    (200, 96, "you can run up to 5 tasks at the same time", TooManyTasks),
    (200, "97", "Insufficient balance", InsufficientBalance),
    (200, 98, "Sign in", NotAuthorized),
    (200, 99, "Token", NotAuthorized),
    (400, 97, "Insufficient balance", InsufficientBalance),
    (400, 0, "prompt required", Invalid),
    (400, 0, "Nope", Invalid),
    (400, 0, "Too many requests", RateLimited),
    (400, 0, "Your account has been suspended.", AccountRefused),
    (401, 0, "Invalid API key", NotAuthorized),
    (401, 0, "Project authorization is not founded.", NotAuthorized),
    (401, 0, "Project authorization is not valid.", NotAuthorized),
    (401, 0, "Project requires signature authentication. x-signature and x-nonce headers are required.", NotAuthorized),
    (401, 0, "Requested ip 192.0.2.7 is not allowed.", NotAuthorized),
    (401, 0, "Your account has been suspended.", AccountRefused),
    (401, 99, "Authorization bearer token expired.", NotAuthorized),
    (403, 0, "This model is not available for your team", ModelNotAllowed),
    (403, 1, "IP not allowed", NotAuthorized),
    (404, 1, "Tool not found", NotFound),
    (422, 0, "Nope", Invalid),
    (429, 0, "Too many requests", RateLimited),
    (429, 96, "you can run up to 2 tasks at the same time", TooManyTasks),
    (500, 0, "Something went wrong", VendorFault),
    (500, 0, "Your account has been suspended.", AccountRefused),
    (500, 97, "Insufficient balance", InsufficientBalance),
    (502, 0, "Something went wrong", VendorFault),
    (503, 0, "Missing", VendorFault),
    (504, 0, "Something went wrong", NoResponse),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), TABLE)
def test_each_error_has_its_exception(status: int, code: object, message: str, kind: type[WiroError]) -> None:
    assert type(refused(error_body(code, message), status)) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, NoResponse),
        (301, NoSuchEndpoint),
        (303, NoResponse),
        (307, NoSuchEndpoint),
        (400, Invalid),
        (401, NotAuthorized),
        (403, NotAuthorized),
        (404, NoSuchEndpoint),
        (405, NoSuchEndpoint),
        (408, VendorFault),
        (413, Invalid),
        (429, RateLimited),
        (500, VendorFault),
        (502, NoResponse),
        (503, VendorFault),
        (504, NoResponse),
        (520, NoResponse),
        (521, VendorFault),
        (524, NoResponse),
    ],
)
def test_without_json_the_status_decides(status: int, kind: type[WiroError]) -> None:
    assert type(refused(None, status)) is kind


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        (["Insufficient balance. Please add funds."], InsufficientBalance),
        (["You can run up to 3 concurrent tasks at the same time"], TooManyTasks),
        (["prompt is required"], Invalid),
        (["Too many requests"], RateLimited),
        (["There is no task yet."], NotFound),
        (["tool-not-accessible"], NotFound),
        (["Your account has been suspended."], AccountRefused),
        ("file required", Invalid),
        (["Oops"], VendorFault),
        ([None, {"code": 97, "message": None}], InsufficientBalance),
        ([None], NoResponse),
        ([[[]]], NoResponse),
        ({"code": 1}, NotFound),
    ],
)
def test_errors_may_be_plain_strings_or_invalid(errors: object, kind: type[WiroError]) -> None:
    assert type(refused({"result": False, "errors": errors})) is kind


def test_a_refusal_without_a_reason_does_not_prove_that_nothing_was_done() -> None:
    assert type(refused({"result": False, "errors": []})) is NoResponse


def test_errors_beside_a_success_are_no_refusal() -> None:
    assert refused({"result": True, "errors": ["deprecated"]}) is None
    assert refused({"taskid": "1", "errors": []}) is None
    assert refused({"result": True}, 201) is None


@pytest.mark.parametrize(
    ("message", "allowed"),
    [
        ("with your balance you can run up to 5 tasks at the same time.", 5),
        ("you can run up to 1 task at the same time", 1),
        ("You can run UP TO 12 concurrent tasks", 12),
        ("too many tasks", None),
        ("you can run up to 0 tasks", None),
    ],
)
def test_the_number_of_allowed_tasks_is_in_the_message(message: str, allowed: int | None) -> None:
    error = refused(error_body(96, message))
    assert isinstance(error, TooManyTasks)
    assert error.allowed == allowed


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("86400", 300.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("9" * 400, None),
        (format_datetime(NOW + timedelta(seconds=40), usegmt=True), 40.0),
        (format_datetime(NOW - timedelta(seconds=40), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=40), usegmt=True), 300.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_with_a_maximum(value: str, seconds: float | None) -> None:
    error = refused(None, 429, Retry_After=value)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_that_may_be_repeated_names_the_wait_of_the_vendor(status: int) -> None:
    error = refused(error_body(0, "Something went wrong"), status, Retry_After="7")
    assert error is not None
    assert error.retry_after_s == 7.0


def test_a_retry_after_date_uses_the_vendors_clock() -> None:
    theirs = NOW + timedelta(minutes=5)
    headers = {"Date": format_datetime(theirs), "Retry_After": format_datetime(theirs + timedelta(seconds=9))}
    error = refused(None, 429, **headers)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 9.0


def test_a_message_of_the_vendor_is_one_line_with_a_maximum_length() -> None:
    assert printable_message("a\nb\t\x1b[31mc\x00 \ud800") == "a b �[31mc� �"
    assert len(printable_message("x" * 10_000)) == 500


@pytest.mark.parametrize(
    "kind", [Invalid, NotFound, AccountRefused, InsufficientBalance, NotAuthorized, ModelNotAllowed, NoSuchEndpoint]
)
def test_errors_that_need_a_person_are_not_retryable(kind: type[WiroError]) -> None:
    assert not kind.retryable


@pytest.mark.parametrize("kind", [TooManyTasks, RateLimited, VendorFault, NoResponse])
def test_temporary_errors_are_retryable(kind: type[WiroError]) -> None:
    assert kind.retryable
