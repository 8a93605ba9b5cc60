"""The steps of an item in simple code: `requests` for the vendor and the CDN, boto3 for S3, no state."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import threading
from typing import Any

import boto3
import requests
from botocore.config import Config

MODEL = "minimax/image-to-video-hailuo-01-subject"
_LOCAL = threading.local()


def run(number: int, image: str) -> str:
    """Post a run. Return its token."""
    fields = {"inputImageFirst": "", "inputImageFirstUrl": image, "prompt": f"p {number}"}
    files = {name: (None, value) for name, value in fields.items()}
    token: str = _post(f"Run/{MODEL}", files=files)["socketaccesstoken"]
    return token


def detail(token: str) -> str | None:
    """Return the URL of a task's output; None while it runs."""
    task = _post("Task/Detail", json={"tasktoken": token})["tasklist"][0]
    return task["outputs"][0]["url"] if task["status"] == "task_postprocess_end" else None


def get(url: str) -> bytes:
    """Download an output."""
    response = _session().get(url, timeout=30)
    response.raise_for_status()
    return response.content


def put(key: str, data: bytes, client: Any) -> None:
    """Store an output."""
    client.put_object(Bucket=os.environ["BENCH_BUCKET"], Key=key, Body=data, ContentType="video/mp4")


def s3() -> Any:
    """Return a new S3 client."""
    return boto3.client("s3", config=Config(max_pool_connections=32))


def _session() -> requests.Session:
    if not hasattr(_LOCAL, "session"):
        _LOCAL.session = requests.Session()
    session: requests.Session = _LOCAL.session
    return session


def _post(path: str, **body: Any) -> dict[str, Any]:
    nonce = str(random.getrandbits(62))
    key, secret = os.environ["WIRO_API_KEY"], os.environ["WIRO_API_SECRET"]
    signature = hmac.new(key.encode(), (secret + nonce).encode(), hashlib.sha256).hexdigest()
    headers = {"x-api-key": key, "x-nonce": nonce, "x-signature": signature}
    response = _session().post(f"{os.environ['WIRO_API_URL']}/{path}", headers=headers, timeout=30, **body)
    document: dict[str, Any] = response.json()
    return document
