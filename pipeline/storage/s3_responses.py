"""Whether a response with a status of success is one of S3, and not a page of a proxy or another server.

Elements: AWS "S3 API Reference, Actions". boto3 takes a well-formed page as a document without entries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.storage.s3_errors import NotAnAnswerOfS3

_ROOTS = {
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CopyObject": "CopyObjectResult",
}
"""The root element of each document. The other operations have none."""
_STATES_ETAG = {"PutObject", "UploadPart"}
_STATES_ETAG_IN_BODY = {"CompleteMultipartUpload", "CopyObject"}
_ROOT = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:\w+:)?(\w+)", re.DOTALL)


def refuse_page(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:
    """Raise NotAnAnswerOfS3 for a success that S3 cannot have sent. For boto3's event `before-parse.s3`."""
    if response_dict["status_code"] >= 300:
        return
    name = operation_model.name
    headers = {key.lower(): str(value) for key, value in response_dict["headers"].items()}
    is_html = "html" in headers.get("content-type", "").lower()
    if operation_model.has_streaming_output or name == "HeadObject":
        # The type is that of the object, and a server that states no ETags may have an object of this type.
        is_valid = not is_html or "etag" in headers
    else:
        is_valid = not is_html and _is_valid(name, headers, response_dict["body"] or b"")
    if not is_valid:
        raise NotAnAnswerOfS3


def _is_valid(name: str, headers: Mapping[str, str], body: bytes) -> bool:
    if name in _STATES_ETAG and not headers.get("etag", "").strip('" '):
        return False
    if name in _STATES_ETAG_IN_BODY and not re.search(rb"<(?:\w+:)?ETag>[^<]", body):
        return False
    found = _ROOT.match(body)
    root = found[1].decode() if found else ""
    return root == _ROOTS[name] if name in _ROOTS else root.lower() != "html"
