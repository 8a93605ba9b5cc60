"""The search for models sends few requests to the vendor and never fails."""

from __future__ import annotations

import pytest

from pipeline.batches import model_search
from pipeline.batches.model_search import MAX_FOUND, ModelSearch
from pipeline.wiro.client import ModelName, Wiro
from pipeline.wiro.errors import VendorFault


class Vendor(Wiro):
    """Lists the models of `names`, whatever is searched for, or fails."""

    def __init__(self, *names: str) -> None:
        super().__init__("http://127.0.0.1:1", "key")
        self.names = names
        self.requests: list[str] = []

    def list_models(self, text: str, *, limit: int) -> list[ModelName]:
        self.requests.append(text)
        if not self.names:
            raise VendorFault("The vendor is away.")
        return [ModelName(name, f"Title of {name}") for name in self.names]


def names(search: ModelSearch, text: str) -> list[str]:
    return [model.name for model in search.find(text).models]


def test_only_models_with_every_word_are_found_with_one_request() -> None:
    vendor = Vendor("acme/photo", "acme/video", "other/video")
    search = ModelSearch(vendor)
    assert names(search, " Video ACME ") == ["acme/video"]
    assert names(search, "video acme") == ["acme/video"]
    assert vendor.requests == ["video"]


def test_results_are_bounded_in_number_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_search, "_MAX_CACHED", 3)
    vendor = Vendor(*(f"acme/video-{number}" for number in range(50)))
    search = ModelSearch(vendor)
    assert len(names(search, "video")) == MAX_FOUND
    for number in range(10):
        search.find(f"v{number}")
    assert len(search._found) == 3
    search.find("x" * 100_000)
    assert max(map(len, vendor.requests)) == model_search.MAX_TEXT


def test_an_unavailable_vendor_gets_no_second_request_at_once() -> None:
    vendor = Vendor()
    search = ModelSearch(vendor)
    for text in ("a", "b", "c"):
        assert search.find(text).reason == "The vendor is away."
    assert vendor.requests == ["a"]


def test_without_a_key_there_are_no_suggestions() -> None:
    assert ModelSearch(None).find("x").models == ()
