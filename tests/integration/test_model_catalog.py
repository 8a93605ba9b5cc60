"""The catalog of models: read once an hour, and used however old while the vendor is away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog
from redis import Redis
from structlog.testing import LogCapture
from support.model_schemas import IMAGE, MODEL, PROMPT, a_tool

from pipeline.batches import model_catalog
from pipeline.batches.model_catalog import NO_KEY, ModelCatalog
from pipeline.ledger.keys import model_key
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.model_cache import LIFETIME_S, MAX_CHARS
from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import Settings
from pipeline.wiro.client import Wiro
from pipeline.wiro.errors import NotFound, VendorFault, WiroError

SANDBOX_MODEL = "minimax/image-to-video-hailuo-01-subject"


class Vendor(Wiro):
    """Answers Tool/Detail with `tool`, or fails with it."""

    def __init__(self, tool: dict[str, Any] | WiroError) -> None:
        super().__init__("http://127.0.0.1:1", "key")
        self.tool = tool
        self.requests = 0

    def tool_detail(self, model: str) -> dict[str, Any]:
        self.requests += 1
        if isinstance(self.tool, WiroError):
            raise self.tool
        return self.tool


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    """What the catalog logs, whether or not an earlier test has configured the log."""
    capture = LogCapture()
    monkeypatch.setattr(model_catalog, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture


def expire(redis_url: str, model: str = MODEL, age_s: int = 3601) -> None:
    """Let the description of a model be as old as this."""
    with Redis.from_url(redis_url) as client:
        client.expire(model_key(model), LIFETIME_S - age_s)


def test_a_model_is_read_once_by_all_processes_and_threads(ledger: Ledger) -> None:
    vendor = Vendor(a_tool(PROMPT, IMAGE))
    catalogs = [ModelCatalog(vendor, ledger.model_cache), ModelCatalog(vendor, ledger.model_cache)]
    assert catalogs[0].schema(MODEL)
    with ThreadPoolExecutor(8) as pool:
        schemas = list(pool.map(lambda number: catalogs[number % 2].schema(MODEL), range(40)))
    assert {schema.image_fields[0].name for schema in schemas if schema} == {"inputImage"}
    assert vendor.requests == 1


def test_threads_that_look_up_a_new_model_together_send_one_request(ledger: Ledger) -> None:
    vendor = Vendor(a_tool(PROMPT, IMAGE))
    catalog = ModelCatalog(vendor, ledger.model_cache)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: catalog.schema(MODEL), range(40)))
    assert vendor.requests == 1


def test_models_are_compared_without_case_and_named_as_the_vendor_does(ledger: Ledger) -> None:
    vendor = Vendor(a_tool(PROMPT, IMAGE))
    catalog = ModelCatalog(vendor, ledger.model_cache)
    assert [catalog.lookup(name).schema and name for name in ("ACME/Animate", MODEL)] == ["ACME/Animate", MODEL]
    schema = catalog.schema("Acme/ANIMATE")
    assert schema and schema.model == MODEL
    assert vendor.requests == 1


def test_after_an_hour_a_model_is_read_again(ledger: Ledger, redis_url: str) -> None:
    vendor = Vendor(a_tool(PROMPT))
    catalog = ModelCatalog(vendor, ledger.model_cache)
    catalog.schema(MODEL)
    expire(redis_url, age_s=3500)
    catalog.schema(MODEL)
    assert vendor.requests == 1
    expire(redis_url)
    vendor.tool = a_tool(PROMPT, IMAGE)
    schema = catalog.schema(MODEL)
    assert vendor.requests == 2
    assert schema and schema.image_fields


def test_an_old_description_is_used_while_the_vendor_is_away(ledger: Ledger, redis_url: str, logs: LogCapture) -> None:
    vendor = Vendor(a_tool(PROMPT, IMAGE))
    catalog = ModelCatalog(vendor, ledger.model_cache)
    catalog.schema(MODEL)
    expire(redis_url, age_s=6 * 86_400)
    vendor.tool = VendorFault("The vendor failed.")
    schemas = [catalog.for_checks()(MODEL) for _ in range(3)]
    assert all(schema and schema.image_fields for schema in schemas)
    # An unavailable vendor gets a request once in a while, not one from each caller.
    assert vendor.requests == 2
    assert [entry["event"] for entry in logs.entries] == ["model_stale"]


def test_without_any_description_the_reason_is_noted(ledger: Ledger) -> None:
    notes: list[tuple[str, str]] = []
    schema_of = ModelCatalog(Vendor(VendorFault("The vendor failed.")), ledger.model_cache).for_checks(
        lambda *note: notes.append(note)
    )
    assert schema_of(MODEL) is None
    assert notes == [(MODEL, "The vendor failed.")]


def test_a_model_without_parameters_is_noted_and_keeps_its_prices(ledger: Ledger, logs: LogCapture) -> None:
    prices = '[{"inputs": {}, "price": 0.09, "priceMethod": "cpr"}]'
    schema = ModelCatalog(Vendor(a_tool(prices=prices)), ledger.model_cache).for_checks()(MODEL)
    assert schema and schema.parameters is None and schema.prices
    assert logs.entries[0]["event"] == "model_not_checked"
    assert "describes no parameters" in logs.entries[0]["reason"]


def test_without_a_key_only_the_cache_is_used_and_nothing_is_noted(ledger: Ledger, logs: LogCapture) -> None:
    catalog = ModelCatalog.of(Settings(), ledger.model_cache)
    assert catalog.for_checks()(MODEL) is None
    assert catalog.lookup(MODEL).reason == NO_KEY
    ModelCatalog(Vendor(a_tool(PROMPT)), ledger.model_cache).schema(MODEL)
    assert catalog.schema(MODEL)
    assert logs.entries == []


def test_a_model_that_does_not_exist_is_not_a_failure_of_the_vendor(ledger: Ledger) -> None:
    vendor = Vendor(NotFound("slug-owner-project-not-exist"))
    catalog = ModelCatalog(vendor, ledger.model_cache)
    with pytest.raises(NotFound):
        catalog.lookup("acme/missing")
    assert catalog.schema("acme/missing") is None
    vendor.tool = a_tool(PROMPT)
    assert catalog.schema(MODEL)


def test_an_unavailable_redis_costs_a_request_each_time_and_fails_nothing(logs: LogCapture) -> None:
    vendor = Vendor(a_tool(PROMPT))
    catalog = ModelCatalog(vendor, Ledger.connect("redis://127.0.0.1:1").model_cache)
    assert catalog.schema(MODEL) and catalog.schema(MODEL)
    assert vendor.requests == 2
    assert {entry["event"] for entry in logs.entries} == {"model_not_stored"}


def test_a_huge_description_is_not_stored(ledger: Ledger) -> None:
    ledger.model_cache.put(MODEL, a_tool(PROMPT, readme="x" * MAX_CHARS))
    assert ledger.model_cache.get(MODEL) is None


def test_the_cache_keeps_prices_exact(ledger: Ledger, sandbox: Sandbox) -> None:
    environ = sandbox.environment
    wiro = Wiro(environ["WIRO_API_URL"], environ["WIRO_API_KEY"], environ.get("WIRO_API_SECRET", ""))
    read = ModelCatalog(wiro, ledger.model_cache).schema(SANDBOX_MODEL)
    assert read and read.prices
    assert ModelCatalog(None, ledger.model_cache).schema(SANDBOX_MODEL) == read


@pytest.mark.parametrize("damage", ["{", "[]", "null", '"text"', "[" * 5000])
def test_a_damaged_description_in_redis_is_read_again_from_the_vendor(ledger: Ledger, damage: str) -> None:
    ledger.redis.set(model_key(MODEL), damage, ex=7 * 86_400)
    assert ledger.model_cache.get(MODEL) is None
