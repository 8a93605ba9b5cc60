"""The API conforms to its description: schemathesis sends requests that it allows, and others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import settings
from pydantic import SecretStr
from schemathesis.config import SchemathesisConfig
from support.access import BEARER, TOKEN
from support.ledger_fixtures import a_batch, dues, running, succeed

from pipeline.ledger import login_attempts
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.settings import Settings
from pipeline.web import create_app
from pipeline.web.security import failure_limit

CONFIG = {
    "headers": BEARER,
    "parameters": {"path.batch_id": "b", "path.item_id": "i0"},
    # Errors of a manifest that a schema cannot express are 422.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422"]}},
}


def an_app(**more: Any) -> Flask:
    return create_app(
        Settings(
            secret=SecretStr("a-secret-of-the-tests"),
            api_token=SecretStr(TOKEN),
            wiro_api_url="http://127.0.0.1:1",
            **more,
        )
    )


class AppUnderTest:
    """The app under test. Its description is needed before the servers run."""

    app = an_app()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)


served = AppUnderTest()
schema = schemathesis.openapi.from_wsgi(
    "/openapi.json", served, headers=BEARER, config=SchemathesisConfig.from_dict(CONFIG)
)


@pytest.fixture(scope="module")
def _served(valkey: str, s3_server: S3Env) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # The cases have many wrong tokens, and each must be refused with 401.
        patch.setattr(login_attempts, "MAX_FAILURES", 10**9)
        patch.setattr(failure_limit, "DELAY_S", 0)
        output = f"s3://{s3_server.bucket}/openapi/"
        served.app = an_app(redis_url=valkey, s3_endpoint=s3_server.endpoint, output=output)
        yield


@pytest.fixture
def _a_batch(_served: None, ledger: Ledger) -> None:
    """Create a batch `b`: one item has succeeded, one runs, one is pending."""
    a_batch(ledger, items=3)
    running(ledger, 2)
    succeed(ledger, dues(ledger)[0])


# The event stream does not end before its batch; test_batch_events.py covers it.
@schema.exclude(operation_id="watch_batch").parametrize()
@settings(max_examples=8, derandomize=True, deadline=None)
@pytest.mark.usefixtures("_a_batch")
def test_every_response_is_as_described(case: schemathesis.Case[Any]) -> None:
    # Schemathesis does not decompress what an application in this process returns.
    case.call_and_validate(headers={**BEARER, "Accept-Encoding": "identity"})
