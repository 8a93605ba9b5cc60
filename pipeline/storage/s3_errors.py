"""boto3's exceptions as StorageError: what S3 refused, where, and what to do. The only place with these words.

`retryable` is whether the same call may succeed later. Codes: AWS "S3 API Reference, Error Responses". Other servers
use the same ones. If a response has no body, or one that is not XML, boto3 takes the HTTP status as the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ProxyConnectionError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from pipeline.domain.connection_faults import Peer, fault_of, is_hung_up, plain_hint
from pipeline.errors import StorageError

T = TypeVar("T")

CHECKSUM_SETTING = "AWS_REQUEST_CHECKSUM_CALCULATION"
"""boto3's own setting: `when_required`, the default of this service, or `when_supported`."""

PEER = Peer("AWS_ENDPOINT_URL_S3", "Set AWS_CA_BUNDLE to a file with the certificate of its authority.")

_MISSING_CODES = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_PRECONDITION_CODES = {"PreconditionFailed", "412"}
_CONFLICT_CODES = {"ConditionalRequestConflict", "409", "OperationAborted"}
_UNSUPPORTED_CODES = {"NotImplemented", "501", "MethodNotAllowed", "405"}
_BUSY_CODES = {"SlowDown", "ServiceUnavailable", "503", "ThrottlingException", "Throttling", "429", "TooManyRequests"}
_RETRYABLE_CODES = _BUSY_CODES | {
    "InternalError", "RequestTimeout", "RequestTimeTooSkewed", "OperationAborted", "500", "502", "504", "408",
}  # fmt: skip
_MAX_MESSAGE_CHARS = 300

_CREDENTIALS = "Check the AWS_… credentials and the policy of the bucket. `dailies doctor` tests them."
_KEYS = (
    "Check the AWS_… credentials. A wrong endpoint, or a proxy that changes the Host header, gives this error as well."
)
_REGION = "Set AWS_DEFAULT_REGION to the region of the bucket, and AWS_ENDPOINT_URL_S3 to an endpoint of that region."
_CLOCK = "The clock of this machine and the server's differ by too much: synchronize them (NTP)."
_SESSION = "Get new temporary credentials and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN."
_UNSUPPORTED = "This S3 server does not support the request. `dailies doctor` shows what it lacks."
_BUSY = "The server is busy or limits requests. Try again later."
_LIST_ADVICE = "Without the permission s3:ListBucket, S3 answers so for an object that does not exist, too."
_NOT_S3 = "That is not an answer of S3, but of a proxy or another server: check AWS_ENDPOINT_URL_S3."
_REDIRECT = (
    "Set AWS_ENDPOINT_URL_S3 to the address where the redirects lead, such as https:// in place of http://, or "
    "AWS_DEFAULT_REGION to the region of the bucket."
)
_MAYBE_NOT_S3 = f"If something else than S3 answers there, check AWS_ENDPOINT_URL_S3. {plain_hint(PEER)}"
_FULL = "The server has no room left: free some, or raise its quota."
_DISABLED = "The account or the bucket is disabled: ask its provider for the reason."
_KMS = "Allow kms:GenerateDataKey and kms:Decrypt on the key that encrypts the bucket."
_BODY_LIMIT = "A proxy before S3 limits the size of a request: raise it (nginx: client_max_body_size 0)."
_INCOMPLETE = "The server, or a proxy before it, leaves it out. `dailies doctor` tests the server."

_ADVICE = {
    "AccessDenied": f"{_CREDENTIALS} {_LIST_ADVICE}",
    "403": f"{_CREDENTIALS} {_LIST_ADVICE}",
    "400": _MAYBE_NOT_S3,
    "401": _MAYBE_NOT_S3,
    "500": _MAYBE_NOT_S3,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _KEYS,
    "ExpiredToken": _SESSION,
    "InvalidToken": _SESSION,
    "RequestTimeTooSkewed": _CLOCK,
    "NoSuchBucket": "Create the bucket, or correct the URI.",
    "InvalidBucketName": "Correct the bucket of the URI: lower-case letters, digits, '-' and '.'.",
    **dict.fromkeys(("InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "507"), _FULL),
    **dict.fromkeys(("AllAccessDisabled", "AccountProblem"), _DISABLED),
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidRegion": _REGION,
    "301": _REGION,
    "307": _REGION,
    **dict.fromkeys(("300", "302", "303", "308"), _REDIRECT),
    **dict.fromkeys(_UNSUPPORTED_CODES, _UNSUPPORTED),
    **dict.fromkeys(_BUSY_CODES, _BUSY),
}
_CHECKSUM_WORDS = re.compile(r"content-md5|checksum|x-amz-trailer|trailing header|aws-chunked", re.IGNORECASE)
_DEMAND_WORDS = re.compile(r"require|must|missing|need", re.IGNORECASE)
_CHECKSUM_CODES = {"XAmzContentSHA256Mismatch", "InvalidTrailer"}


class NotAnAnswerOfS3(BotoCoreError):
    """A response with a status of success is a page, or lacks what S3 states after a write."""

    fmt = "The response is not an answer of S3."


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Raise boto3's exceptions, and what it raises about responses that it does not expect, as StorageError."""
    try:
        yield
    except ClientError as error:
        raise _refusal(uri, error) from None
    except (ResponseParserError, NotAnAnswerOfS3):
        raise StorageError(f"The response for {uri} is no S3 document. {_NOT_S3}", retryable=True) from None
    except RecursionError:
        # botocore requests the region of the bucket, and the response is a redirect as well.
        raise StorageError(f"S3 redirects every request for {uri}. {_REDIRECT}", retryable=True) from None
    except KeyError as error:
        raise StorageError(f"The response of S3 for {uri} lacks {error}. {_INCOMPLETE}", retryable=False) from None
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        # botocore converts headers and documents without a check.
        reason = f"{type(error).__name__}: {error}"[:_MAX_MESSAGE_CHARS]
        message = f"The response of S3 for {uri} cannot be read ({reason}). {_NOT_S3}"
        raise StorageError(message, retryable=False) from None
    except NoCredentialsError:
        raise StorageError(
            f"There are no credentials for {uri}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.", retryable=False
        ) from None
    except (BotoConnectionError, HTTPClientError) as error:
        raise StorageError(f"S3 does not answer for {uri}{_no_answer(error)}", retryable=True) from None
    except BotoCoreError as error:
        retryable = isinstance(error, IncompleteReadError)
        raise StorageError(f"S3 failed for {uri}: {error}", retryable=retryable) from None


def none_if_missing(call: Callable[[], T]) -> T | None:
    """Return the result of `call`, None if the object or the upload does not exist. A missing bucket is an error.

    So is a 404 with an HTML page: a proxy's page is no evidence of what S3 stores.
    """
    try:
        return call()
    except ClientError as error:
        if _code(error) in _MISSING_CODES and not is_html(error):
            return None
        raise


def is_precondition_failure(error: ClientError) -> bool:
    """Return whether the condition of a conditional write was not met."""
    return _code(error) in _PRECONDITION_CODES


def is_conflict(error: ClientError) -> bool:
    """Return whether a conditional write met another write, or an object that was deleted meanwhile."""
    return _code(error) in _CONFLICT_CODES | _MISSING_CODES


def is_unsupported(error: ClientError) -> bool:
    """Return whether the server does not implement the request or one of its headers.

    Some servers send HTTP 400 and this sentence of AWS's.
    """
    message = str(error.response.get("Error", {}).get("Message", ""))
    return _code(error) in _UNSUPPORTED_CODES or "functionality that is not implemented" in message


def is_invalid_range(error: ClientError) -> bool:
    """Return whether an object has no byte in the range that was requested."""
    return _code(error) in {"InvalidRange", "416"}


def is_html(error: ClientError) -> bool:
    """Return whether the error came with an HTML page."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return "html" in str(headers.get("content-type", "")).lower()


def _refusal(uri: str, error: ClientError) -> StorageError:
    code = _code(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = str(error.response.get("Error", {}).get("Message") or "no message")[:_MAX_MESSAGE_CHARS]
    advice = _page_advice(code) if is_html(error) and code.isdecimal() else _advice(code, message)
    retryable = code in _RETRYABLE_CODES or (status >= 500 and code not in _UNSUPPORTED_CODES)
    name = f"HTTP {code}" if code.isdecimal() else code
    return StorageError(f"S3 refused {uri}: {name}: {message.rstrip('.')}. {advice}".rstrip(), retryable=retryable)


def _no_answer(error: BotoCoreError) -> str:
    """Return where there was no answer, why, and what to do: the end of a message."""
    url = urlsplit(str(error.kwargs.get("endpoint_url", "")))
    place = f" at {url.netloc}" if url.netloc else ""
    if isinstance(error, ProxyConnectionError):
        return f"{place}: {error}. Correct HTTP_PROXY and HTTPS_PROXY, or name the host in NO_PROXY."
    if fault := fault_of(error):
        return f"{place}: {fault.what}. {fault.fix(PEER)}"
    if type(error) is HTTPClientError:
        # Its message quotes the error of another library, and that one a header with a signature.
        return f"{place}: {type(error.kwargs.get('error')).__name__}. Check the AWS_… settings."
    hint = f". {plain_hint(PEER)}" if url.scheme == "http" and is_hung_up(error) else ""
    return f"{place}: {str(error).rstrip('.')}{hint}"


def _page_advice(code: str) -> str:
    """Return what to do about an HTML page with this status."""
    if code == "413":
        return _BODY_LIMIT
    return f"{_NOT_S3} {plain_hint(PEER)}" if code == "400" else _NOT_S3


def _advice(code: str, message: str) -> str:
    if code in _CHECKSUM_CODES or _CHECKSUM_WORDS.search(message):
        is_demanded = code not in _CHECKSUM_CODES and _DEMAND_WORDS.search(message)
        return f"Set {CHECKSUM_SETTING}={'when_supported' if is_demanded else 'when_required'}."
    return _KMS if "kms" in f"{code} {message}".lower() else _ADVICE.get(code, "")


def _code(error: ClientError) -> str:
    """Return the code of an error. A body that is XML but not of S3 has none: then it is the HTTP status."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "unknown")
    return str(error.response.get("Error", {}).get("Code") or status)
