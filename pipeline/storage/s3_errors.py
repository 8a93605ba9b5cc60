"""boto3's exceptions as StorageError, whose `retryable` is whether the same call may succeed later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError

from pipeline.errors import StorageError

T = TypeVar("T")

_MISSING_CODES = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_PRECONDITION_CODES = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
_CREDENTIAL_CODES = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_RETRYABLE_CODES = {
    "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeTooSkewed", "OperationAborted",
    "ThrottlingException", "Throttling", "500", "502", "503", "504",
}  # fmt: skip


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Raise boto3's exceptions as StorageError about `uri`."""
    try:
        yield
    except ClientError as error:
        raise _refusal(uri, error) from None
    except BotoConnectionError as error:
        raise StorageError(f"S3 does not answer for {uri}: {error}", retryable=True) from None
    except BotoCoreError as error:
        retryable = isinstance(error, HTTPClientError | IncompleteReadError)
        raise StorageError(f"S3 failed for {uri}: {error}", retryable=retryable) from None


def none_if_missing(call: Callable[[], T]) -> T | None:
    """Return the result of `call`, None if the object or the upload does not exist. A missing bucket is an error."""
    try:
        return call()
    except ClientError as error:
        if _code(error) in _MISSING_CODES:
            return None
        raise


def is_precondition_failure(error: ClientError) -> bool:
    """Return whether the condition of a conditional write was not met."""
    return _code(error) in _PRECONDITION_CODES


def _refusal(uri: str, error: ClientError) -> StorageError:
    code = _code(error)
    message = error.response.get("Error", {}).get("Message") or "no message"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    advice = ""
    if code in _CREDENTIAL_CODES:
        advice = " Check the AWS_… credentials and the policy of the bucket. `dailies doctor` tests them."
    elif code == "NoSuchBucket":
        advice = " Create the bucket, or correct the URI."
    retryable = code in _RETRYABLE_CODES or int(status) >= 500
    return StorageError(f"S3 refused {uri}: {code}: {message}.{advice}", retryable=retryable)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
