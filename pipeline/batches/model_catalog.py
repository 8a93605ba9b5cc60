"""The models of the vendor: Tool/Detail is read once an hour for each model that is used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from pipeline.errors import Unreachable
from pipeline.ledger.model_cache import CachedModel
from pipeline.settings import Settings
from pipeline.wiro.client import Wiro
from pipeline.wiro.errors import NotFound, WiroError
from pipeline.wiro.model_schema import ModelSchema, parse_model_schema

FRESH = timedelta(hours=1)
RETRY_AFTER_S = 30.0
"""How long no request follows a failed one: callers would wait for its timeout one after another."""
NO_KEY = "WIRO_API_KEY is not set"
_MAX_MODELS = 256

Note = Callable[[str, str], None]
"""Is called with a model and the reason why a manifest is not checked against it."""

log = structlog.get_logger()


class Cache(Protocol):
    """Where descriptions of models are kept: `ledger.model_cache.ModelCache`, or the memory of a command."""

    def get(self, model: str) -> CachedModel | None:
        """Return the stored description of a model."""

    def put(self, model: str, tool: Mapping[str, Any]) -> None:
        """Store the description of a model."""


@dataclass(frozen=True)
class ModelLookup:
    """The schema of a model. `reason`: why it has no schema, or no parameters; '' if it has both."""

    schema: ModelSchema | None
    reason: str = ""


class ModelCatalog:
    """Looks models up: in the cache for an hour, then at the vendor, then in the cache however old. Thread-safe.

    `wiro`: None without a key for the vendor.
    """

    def __init__(self, wiro: Wiro | None, cache: Cache) -> None:
        self._wiro = wiro
        self._cache = cache
        self._lock = threading.Lock()
        self._failed_at: float | None = None
        self._failure = ""

    @classmethod
    def of(cls, settings: Settings, cache: Cache | None = None) -> ModelCatalog:
        """Return the catalog for the vendor of `settings`. Without a `cache`, it keeps models in memory."""
        has_key = bool(settings.wiro_api_key.get_secret_value())
        return cls(Wiro.from_settings(settings) if has_key else None, cache or _MemoryCache())

    def lookup(self, model: str) -> ModelLookup:
        """Return the schema of a model ("owner/name", compared without case). Raises NotFound."""
        cached, reason = self._fresh(model), ""
        if cached is None:
            # One request serves all threads that wait. Threads for other models wait, too: a new model is rare.
            with self._lock:
                cached = self._fresh(model)
                if cached is None:
                    cached, reason = self._read(model)
        if cached is None:
            return ModelLookup(None, reason)
        schema = parse_model_schema(cached.tool, _spelling(cached.tool, model))
        is_described = schema.parameters is not None
        return ModelLookup(schema, "" if is_described else f"the vendor describes no parameters of {model}")

    def schema(self, model: str) -> ModelSchema | None:
        """Return the schema of a model, None if it is not known."""
        try:
            return self.lookup(model).schema
        except NotFound:
            return None

    def for_checks(self, note: Note | None = None) -> Callable[[str], ModelSchema | None]:
        """Return what manifests are checked with: a function that returns a model's schema. It raises NotFound.

        If the schema cannot be had, it calls `note` (default: a log event), but not without a key for the vendor.
        """

        def schema_of(model: str) -> ModelSchema | None:
            found = self.lookup(model)
            if found.reason and found.reason != NO_KEY:
                (note or _log_note)(model, found.reason)
            return found.schema

        return schema_of

    def _fresh(self, model: str) -> CachedModel | None:
        cached = self._cached(model)
        return cached if cached and datetime.now(UTC) - cached.fetched_at <= FRESH else None

    def _cached(self, model: str) -> CachedModel | None:
        try:
            return self._cache.get(model)
        except Unreachable:
            return None

    def _read(self, model: str) -> tuple[CachedModel | None, str]:
        """Return the vendor's description of a model, else the cached one, else why there is none. Raises NotFound."""
        if self._wiro is None:
            return self._cached(model), NO_KEY
        if self._failed_at is not None and time.monotonic() - self._failed_at < RETRY_AFTER_S:
            return self._cached(model), self._failure
        try:
            tool = self._wiro.tool_detail(model)
        except NotFound:
            raise
        except WiroError as error:
            self._failed_at, self._failure = time.monotonic(), str(error)
            if stale := self._cached(model):
                log.warning("model_stale", model=model, error=str(error))
            return stale, str(error)
        self._failed_at = None
        try:
            self._cache.put(model, tool)
        except Unreachable as error:
            log.warning("model_not_stored", model=model, error=str(error))
        return CachedModel(tool, datetime.now(UTC)), ""


class _MemoryCache:
    def __init__(self) -> None:
        self._models: dict[str, CachedModel] = {}

    def get(self, model: str) -> CachedModel | None:
        return self._models.get(model.lower())

    def put(self, model: str, tool: Mapping[str, Any]) -> None:
        if len(self._models) < _MAX_MODELS:
            self._models[model.lower()] = CachedModel(tool, datetime.now(UTC))


def _spelling(tool: Mapping[str, Any], model: str) -> str:
    """Return the name of a model as the vendor writes it, or as it was given if the vendor's is another one."""
    for owner, name in (("cleanslugowner", "cleanslugproject"), ("slugowner", "slugproject")):
        spelling = f"{tool.get(owner)}/{tool.get(name)}"
        if spelling.lower() == model.lower():
            return spelling
    return model


def _log_note(model: str, reason: str) -> None:
    log.warning("model_not_checked", model=model, reason=reason)
