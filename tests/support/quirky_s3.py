"""A proxy in front of a real S3 server that makes it differ, one quirk at a time.

Requests pass with their Host header, so signatures stay valid. A quirk that removes a signed part of a request signs it
again with the keys of the server.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pipeline.local.servers import S3Env

_HOP_HEADERS = {"connection", "transfer-encoding", "keep-alive", "expect"}
_SIGNED_BY_US = ("authorization", "x-amz-date", "x-amz-content-sha256", "host")


@dataclass
class Request:
    """A request as the client sent it. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    is_changed: bool = False
    """Whether it must be signed again."""

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    @property
    def is_listing(self) -> bool:
        return self.method == "GET" and "prefix" in self.query and "uploads" not in self.query

    @property
    def is_object(self) -> bool:
        return self.method in ("GET", "HEAD") and not self.is_listing

    def with_query(self, **changes: str | None) -> None:
        """Set parameters; None removes one."""
        query = {**self.query, **{name.replace("_", "-"): value for name, value in changes.items()}}
        given = {name: value for name, value in query.items() if value is not None}
        self.path = f"{urlsplit(self.path).path}?{urlencode(given, quote_via=quote)}"
        self.is_changed = True

    def without(self, *headers: str) -> None:
        """Remove headers."""
        for name in headers:
            self.is_changed |= self.headers.pop(name, None) is not None


@dataclass
class Response:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    has_length: bool = True
    """Whether it has a Content-Length; without it, a body is sent in chunks."""

    @classmethod
    def error(cls, status: int, code: str, message: str = "x") -> Response:
        """Return an error as S3 sends it."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return cls(status, {"content-type": "application/xml"}, body.encode())


Before = Callable[[Request], Response | None]
After = Callable[[Request, Response], Response]


@dataclass
class QuirkyS3:
    """The proxy. `before` may answer or change a request, `after` may change its response."""

    env: S3Env
    before: Before = field(default=lambda request: None)
    after: After = field(default=lambda request, response: response)
    url: str = ""

    def set(self, *quirks: str) -> None:
        """Make the server differ in these ways; '' for no quirk. The names are those of QUIRKS."""
        changes = [QUIRKS[quirk] for quirk in quirks]

        def before(request: Request) -> Response | None:
            answers = (change(request) for change, _ in changes if change)
            return next((answer for answer in answers if answer), None)

        def after(request: Request, response: Response) -> Response:
            for _, change in changes:
                response = change(request, response) if change else response
            return response

        self.before, self.after = before, after

    def respond(self, request: Request) -> Response:
        response = self.before(request) or self._forward(request)
        return self.after(request, response)

    def _forward(self, request: Request) -> Response:
        if request.is_changed:
            self._sign(request)
        target = urlsplit(self.env.endpoint)
        connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        headers = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in _HOP_HEADERS}
        return Response(answer.status, headers, body)

    def _sign(self, request: Request) -> None:
        kept = {name: value for name, value in request.headers.items() if name not in _SIGNED_BY_US}
        host = request.headers["host"]
        signed = AWSRequest(request.method, f"http://{host}{request.path}", headers=kept, data=request.body)
        keys = Credentials(self.env.access_key, self.env.secret_key)
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(signed)
        request.headers = {name.lower(): str(value) for name, value in signed.headers.items()}
        request.headers["host"] = host


@contextmanager
def a_quirky_s3(env: S3Env) -> Iterator[QuirkyS3]:
    """Run a proxy in front of the server of `env`, without a quirk at first, until the end of the block."""
    proxy = QuirkyS3(env)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy))
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


def _handler(proxy: QuirkyS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with suppress(ConnectionError):
                super().handle_one_request()

        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items() if name.lower() not in _HOP_HEADERS}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            self._send(proxy.respond(request))

        def _send(self, response: Response) -> None:
            self.send_response_only(response.status)
            # The length that a HEAD states is not that of its body.
            length = response.headers.pop("content-length", "0") if self.command == "HEAD" else str(len(response.body))
            for name, value in response.headers.items():
                if name != "content-length":
                    self.send_header(name, value)
            if response.has_length:
                self.send_header("content-length", length)
            elif self.command != "HEAD":
                self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            if self.command == "HEAD":
                return
            if response.has_length:
                self.wfile.write(response.body)
            else:
                chunk = b"%x\r\n%s\r\n" % (len(response.body), response.body) if response.body else b""
                self.wfile.write(chunk + b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do

    return Handler


# The quirks


def _when(condition: Callable[[Request], object], status: int, code: str, message: str = "x") -> Before:
    def before(request: Request) -> Response | None:
        return Response.error(status, code, message) if condition(request) else None

    return before


def _has(*headers: str) -> Callable[[Request], bool]:
    return lambda request: any(name.startswith(headers) for name in request.headers)


def _ignore(*headers: str) -> Before:
    def before(request: Request) -> None:
        request.without(*headers)

    return before


def _change_etags(change: Callable[[str], str]) -> After:
    def after(request: Request, response: Response) -> Response:
        if etag := response.headers.get("etag"):
            response.headers["etag"] = change(etag)
        response.body = re.sub(
            rb"<ETag>(.*?)</ETag>",
            lambda match: b"<ETag>%s</ETag>" % change(match[1].decode().replace("&#34;", '"')).encode(),
            response.body,
        )
        return response

    return after


def _no_etags(request: Request, response: Response) -> Response:
    """Leave ETags out of what is read. Every S3 server states them for what is written."""
    is_read = request.method in ("GET", "HEAD") and "uploads" not in request.query
    return _change_etags(lambda etag: "")(request, response) if is_read else response


def _a_page(condition: Callable[[Request], object], *, has_etag: bool = False) -> Before:
    """Answer with the page of a proxy, as one that demands a sign-in."""

    def before(request: Request) -> Response | None:
        headers = {"content-type": "text/html"} | ({"etag": '"1-2"'} if has_etag else {})
        page = b"<html><body><p>Sign in</p></body></html>"
        return Response(200, headers, page) if condition(request) else None

    return before


def _no_length(request: Request, response: Response) -> Response:
    response.has_length = not (request.is_object and response.status < 300)
    return response


def _change_error(change: Callable[[Response], Response]) -> After:
    return lambda request, response: change(response) if response.status >= 300 else response


def _without_body(response: Response) -> Response:
    return Response(response.status)


def _as_html(response: Response) -> Response:
    return Response(response.status, {"content-type": "text/html"}, b"<html><body><p>Oops<br></body></html>")


def _version_1(request: Request) -> None:
    """Two keys at a time, with the document of version 1 for every listing."""
    if request.is_listing:
        names = ("list_type", "continuation_token", "start_after", "fetch_owner")
        request.with_query(**dict.fromkeys(names), max_keys="2")


def _two_keys(request: Request) -> None:
    if request.is_listing:
        request.with_query(max_keys="2")


def _no_token(request: Request, response: Response) -> Response:
    if request.is_listing:
        response.body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", response.body)
        response.body = re.sub(rb"<NextMarker>.*?</NextMarker>", b"", response.body)
    return response


def _encoded_keys(*, says_so: bool) -> After:
    def after(request: Request, response: Response) -> Response:
        if not request.is_listing or response.status != 200:
            return response
        body = re.sub(r"<EncodingType>.*?</EncodingType>", "", response.body.decode())
        was_encoded = b"<EncodingType>url</EncodingType>" in response.body

        def encode(match: re.Match[str]) -> str:
            return match[0] if was_encoded else f"<Key>{quote(match[1])}</Key>"

        body = re.sub(r"<Key>(.*?)</Key>", encode, body).replace("+", "%20")
        if says_so:
            body = body.replace("</ListBucketResult>", "<EncodingType>url</EncodingType></ListBucketResult>")
        response.body = body.encode()
        return response

    return after


def _missing_is_forbidden(request: Request, response: Response) -> Response:
    is_missing = response.status == 404 and request.is_object
    return Response.error(403, "AccessDenied", "Access Denied") if is_missing else response


def _busy_at_first() -> Before:
    seen: set[tuple[str, str]] = set()

    def before(request: Request) -> Response | None:
        name = (request.method, request.path)
        if name in seen:
            return None
        seen.add(name)
        return Response.error(503, "SlowDown", "Please reduce your request rate.")

    return before


def _never_matches(request: Request) -> Response | None:
    if_match = request.headers.get("if-match", "")
    return Response.error(412, "PreconditionFailed") if if_match else None


_SKEWED = "The difference between the request time and the current time is too large."
_DEMANDED = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
_has_checksum = _has("x-amz-checksum-", "x-amz-sdk-checksum", "content-md5", "x-amz-trailer")

QUIRKS: dict[str, tuple[Before | None, After | None]] = {
    "": (None, None),
    "weak ETags": (None, _change_etags(lambda etag: f"W/{etag}")),
    "weak ETags that match nothing": (_never_matches, _change_etags(lambda etag: f"W/{etag}")),
    "unquoted ETags": (None, _change_etags(lambda etag: etag.strip('"'))),
    "no ETags": (None, _no_etags),
    "If-Match: 501": (_when(_has("if-match"), 501, "NotImplemented"), None),
    "If-Match ignored": (_ignore("if-match"), None),
    "If-None-Match: 501": (_when(_has("if-none-match"), 501, "NotImplemented"), None),
    "If-None-Match ignored": (_ignore("if-none-match"), None),
    "no Content-Length": (None, _no_length),
    "Range ignored": (_ignore("range"), None),
    "listing of version 1": (_version_1, None),
    "listing without a token": (_two_keys, _no_token),
    "listing by twos": (_two_keys, None),
    "encoded keys": (None, _encoded_keys(says_so=True)),
    "encoded keys, unsaid": (None, _encoded_keys(says_so=False)),
    "errors without a body": (None, _change_error(_without_body)),
    "errors as HTML": (None, _change_error(_as_html)),
    "busy at first": (_busy_at_first(), None),
    "missing is 403": (None, _missing_is_forbidden),
    "listing refused": (_when(lambda request: request.is_listing, 403, "AccessDenied", "Access Denied"), None),
    "listing empty": (lambda request: request.with_query(prefix="/none/") if request.is_listing else None, None),
    "no bucket": (_when(lambda request: True, 404, "NoSuchBucket"), None),
    "busy": (_when(lambda request: True, 503, "SlowDown", "Please reduce your request rate."), None),
    "clock": (_when(lambda request: True, 403, "RequestTimeTooSkewed", _SKEWED), None),
    "checksum demanded": (
        _when(lambda request: request.method == "PUT" and not _has_checksum(request), 400, "InvalidRequest", _DEMANDED),
        None,
    ),
    "checksum refused": (
        _when(_has_checksum, 400, "InvalidArgument", "Unsupported header 'x-amz-sdk-checksum-algorithm' received"),
        None,
    ),
    "no multipart": (_when(lambda request: "uploads" in request.query, 501, "NotImplemented"), None),
    "no copy": (_when(_has("x-amz-copy-source"), 501, "NotImplemented"), None),
    "a page": (_a_page(lambda request: True), None),
    "a page for writes": (_a_page(lambda request: request.method not in ("GET", "HEAD")), None),
    "a page with an ETag for writes": (
        _a_page(lambda request: request.method not in ("GET", "HEAD"), has_etag=True),
        None,
    ),
    "an empty page for writes": (
        lambda request: Response(200) if request.method in ("PUT", "POST") else None,
        None,
    ),
    "region": (
        _when(lambda request: True, 400, "AuthorizationHeaderMalformed", "the region is wrong; expecting 'eu-1'"),
        None,
    ),
}
"""{quirk: (what happens to a request, what happens to a response)}"""
