"""`doctor --live`: one paid run at the vendor, and what it shows of each assumption that is open.

The run is posted once and never again: if its response is lost, it is searched for in the vendor's list of tasks. Its
callback goes to the web process of the service, which only records how it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from pipeline.doctor import live_findings
from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.doctor.live_report import Redactor
from pipeline.doctor.output_request import request_output
from pipeline.doctor.retries import retried
from pipeline.domain.callback_tokens import LIVE_CHECK_BATCH, CallbackSigner, RunId
from pipeline.domain.formatting import dollars, duration
from pipeline.errors import DailiesError, Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.live_checks import ReceivedCallback
from pipeline.manifest.validators import DEFAULT_IMAGE_FIELD, DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.wiro.client import FileSource, ImageField, Run, RunImage, Task, Wiro
from pipeline.wiro.errors import ResponseLost, WiroError
from pipeline.wiro.model_price import PriceEstimate, estimate_price
from pipeline.wiro.model_schema import URL_KIND

MAX_TASK_S = 900.0
SEARCH_S = 60.0
REFUSED_ATTEMPTS = 2
"""Wiro makes three attempts (API doc): the third one is accepted."""
CALLBACK_WAIT_S = 60.0
"""Seconds after the end of the task in which the first callback must come."""
QUIET_S = 30.0
"""Seconds without a further callback after which the last one has come. The vendor waits 2 s (API doc)."""
_MIN_DELAY_S, _MAX_DELAY_S = 0.25, 5.0
_INEXACT_PRICE_FACTOR = 3
"""The budget must cover an estimate that is not exact so many times."""
_RETRY_DELAYS_S = (0.5, 2.0)
_IMAGE = Path(__file__).parents[2] / "config" / "samples" / "portrait.jpg"
_Result = TypeVar("_Result")


class LiveRunRefused(DailiesError):
    """Nothing was run."""


@dataclass(frozen=True)
class LivePlan:
    """The run that is about to be posted. `prompt` is like no other, so that the run can be found by it."""

    model: str
    prompt: str
    image_field: ImageField
    price: PriceEstimate
    budget_usd: Decimal


def plan_run(settings: Settings, budget_usd: Decimal) -> LivePlan:
    """Return the run of the default model. Raises LiveRunRefused if its price is unknown or above the budget."""
    if not _IMAGE.is_file():
        raise LiveRunRefused(f"Nothing was run: the sample image {_IMAGE} is missing.")
    wiro = Wiro.from_settings(settings)
    schema = _or_error(lambda: wiro.model_schema(DEFAULT_MODEL))
    if isinstance(schema, WiroError):
        raise LiveRunRefused(f"Nothing was run: the price is unknown. {schema}")
    prompt = f"The camera moves slowly closer. Take {token_hex(4)}."
    price = estimate_price(schema, {}, prompt, 1)
    if price is None:
        raise LiveRunRefused(f"Nothing was run: the price of {DEFAULT_MODEL} is unknown.")
    _check_budget(price, budget_usd)
    image_field = next(iter(schema.image_fields), ImageField(DEFAULT_IMAGE_FIELD, "fileinput"))
    return LivePlan(DEFAULT_MODEL, prompt, image_field, price, budget_usd)


def _check_budget(price: PriceEstimate, budget_usd: Decimal) -> None:
    factor = _INEXACT_PRICE_FACTOR if price.reason else 1
    if price.high_usd * factor > budget_usd:
        reason = f" It is not exact, so the budget must cover it {factor} times." if price.reason else ""
        raise LiveRunRefused(
            f"Nothing was run: the price is {dollars(price.high_usd)}, the budget {dollars(budget_usd)}.{reason} "
            "Raise --budget."
        )


def observe_run(settings: Settings, plan: LivePlan) -> Iterator[Finding]:
    """Post the run and yield a finding for each assumption, without secrets, ids and URLs."""
    check = _LiveRun(settings, plan)
    for finding in check.findings():
        yield check.redactor.redact(finding)


class _LiveRun:
    def __init__(self, settings: Settings, plan: LivePlan) -> None:
        self._settings = settings
        self._plan = plan
        self._wiro = Wiro.from_settings(settings)
        self._ledger = Ledger.connect(settings.redis_url)
        self._check_id = token_hex(8)
        self._no_callback: Finding | None = None
        self.redactor = Redactor(_secrets(settings))
        self.redactor.add(self._check_id)

    def findings(self) -> Iterator[Finding]:
        """Yield the findings in the order of the run."""
        callback_url = self._open_callbacks()
        try:
            run = self._post(callback_url)
            yield ok("response of Run", "names the task")
        except ResponseLost as error:
            finding, found = self._search(callback_url, error)
            yield finding
            if found is None:
                return
            run = found
        except DailiesError as error:
            yield wrong("response of Run", f"refused ({type(error).__name__}): {error} Nothing was charged.")
            return
        self.redactor.add(run.task_id, run.token)
        task = self._wait_for_end(run)
        if task is None or not task.ended:
            yield self._stop(run)
            return
        self.redactor.add(task.id, task.token)
        yield from self._judge(task, callback_url)

    def _judge(self, task: Task, callback_url: str | None) -> Iterator[Finding]:
        ended_at = time.monotonic()
        yield live_findings.run_result(task)
        yield from live_findings.detail_fields(task)
        yield live_findings.price(self._plan.price, task.cost_usd, self._plan.budget_usd)
        yield from self._count_charge(task)
        # Outputs first: their URLs expire.
        yield from self._outputs(task)
        rows = _or_error(lambda: self._wiro.list_tasks(limit=50))
        yield from live_findings.listing(rows, task, self._plan.prompt, has_callback=callback_url is not None)
        yield live_findings.stop_refused("Cancel", _error(lambda: self._wiro.cancel(task.id, task.token)))
        yield live_findings.stop_refused("Kill", _error(lambda: self._wiro.kill(task.id, task.token)))
        is_signed = self._settings.wiro_api_secret is not None
        yield live_findings.nonce(
            _or_error(lambda: self._wiro.accepts_reused_nonce(task.token)) if is_signed and task.token else None
        )
        yield from self._callbacks(task, ended_at)

    def _open_callbacks(self) -> str | None:
        """Return the callback URL, or None with the reason in `_no_callback`."""
        subject, secret = "callback", self._settings.secret.get_secret_value()
        if self._settings.public_url is None or not secret:
            fix = "Set PIPELINE_PUBLIC_URL to the public address of the web process, and PIPELINE_SECRET."
            missing = "public URL" if self._settings.public_url is None else "PIPELINE_SECRET"
            self._no_callback = note(subject, f"not tested: no {missing}", fix)
            return None
        try:
            self._ledger.live_checks.open(self._check_id, refusals=REFUSED_ATTEMPTS)
        except Unreachable as error:
            self._no_callback = note(subject, f"not tested: {error}", "Set REDIS_URL to the server of the service.")
            return None
        url = CallbackSigner(secret).url(self._settings.public_url, RunId(LIVE_CHECK_BATCH, self._check_id, 1))
        self.redactor.add(url.rpartition("/")[2])
        return url

    def _post(self, callback_url: str | None) -> Run:
        file = FileSource(_IMAGE.name, "image/jpeg", _IMAGE.stat().st_size, lambda: _IMAGE.open("rb"))
        image_field = self._plan.image_field
        if image_field.kind == URL_KIND:
            image = RunImage(image_field, self._wiro.upload(file), None)
        else:
            image = RunImage(image_field, None, file)
        params = {"prompt": self._plan.prompt}
        return self._wiro.run(self._plan.model, params, image=image, callback_url=callback_url)

    def _search(self, callback_url: str | None, error: WiroError) -> tuple[Finding, Run | None]:
        """Search for the run whose response was lost."""
        subject, deadline = "response of Run", time.monotonic() + SEARCH_S
        while True:
            rows = _or_error(lambda: self._wiro.list_tasks(limit=50))
            for row in [] if isinstance(rows, WiroError) else rows:
                is_url = bool(callback_url) and row.callback_url == callback_url
                if is_url or row.parameters.get("prompt") == self._plan.prompt:
                    how = "its callback URL" if is_url else "its prompt"
                    return note(subject, f"lost ({error}); the task was found by {how}"), Run(row.id, row.token)
            refused = isinstance(rows, WiroError) and not rows.retryable
            if refused or time.monotonic() > deadline:
                message = f"lost ({error}), and the task was not found. It may be charged."
                return wrong(subject, message, "Look for the task at the vendor before you repeat the check."), None
            time.sleep(_MAX_DELAY_S)

    def _wait_for_end(self, run: Run) -> Task | None:
        """Return the task when it has ended, or as it was last after MAX_TASK_S."""
        deadline, delay_s, task = time.monotonic() + MAX_TASK_S, _MIN_DELAY_S, None
        while True:
            # The run is paid for: no error of a status check ends the wait.
            with suppress(WiroError):
                task = self._wiro.task(token=run.token, task_id=run.task_id)
            if (task is not None and task.ended) or time.monotonic() > deadline:
                return task
            time.sleep(delay_s)
            delay_s = min(2 * delay_s, _MAX_DELAY_S)

    def _stop(self, run: Run) -> Finding:
        """Stop a task that does not end."""
        errors = [
            _error(lambda: self._wiro.cancel(run.task_id, run.token)),
            _error(lambda: self._wiro.kill(run.task_id, run.token)),
        ]
        stopped = "It was stopped." if None in errors else f"It could not be stopped: {errors[-1]}"
        message = f"The task did not end in {duration(MAX_TASK_S)}. {stopped}"
        return wrong("run", message, "Look at the task at the vendor: it may be charged.")

    def _count_charge(self, task: Task) -> Iterator[Finding]:
        """Add the charge to the spend of the day."""
        cost_usd = self._plan.price.high_usd if task.cost_usd is None and task.succeeded else task.cost_usd
        try:
            self._ledger.account.add_spend(cost_usd or Decimal(0))
        except Unreachable as error:
            yield note("spend", f"This charge is not counted in the spend of the day: {error}")

    def _outputs(self, task: Task) -> Iterator[Finding]:
        output = next((output for output in task.outputs if output.url), None)
        if output is None:
            yield note("output", "not tested: the run has no output with a URL")
            return
        response = request_output(output.url, self._settings.fetch_hosts)
        yield live_findings.output_host(response)
        yield live_findings.output_response(output, response, self._settings.max_output_mb)
        yield live_findings.output_expiry(output, datetime.now(UTC))

    def _callbacks(self, task: Task, ended_at: float) -> Iterator[Finding]:
        if self._no_callback:
            yield self._no_callback
            return
        try:
            received = self._wait_for_callbacks(ended_at)
        except Unreachable as error:
            yield note("callback", f"not tested: {error}", "Check REDIS_URL.")
            return
        yield from live_findings.callbacks(received, task.finished, waited_s=CALLBACK_WAIT_S, quiet_s=QUIET_S)

    def _wait_for_callbacks(self, ended_at: float) -> list[ReceivedCallback]:
        """Return the callbacks, when none has come for QUIET_S."""
        quiet_since, received = ended_at, self._ledger.live_checks.callbacks(self._check_id)
        while time.monotonic() < quiet_since + (QUIET_S if received else CALLBACK_WAIT_S):
            time.sleep(_MIN_DELAY_S)
            now = self._ledger.live_checks.callbacks(self._check_id)
            if len(now) > len(received):
                quiet_since, received = time.monotonic(), now
        return received


def _or_error(call: Callable[[], _Result]) -> _Result | WiroError:
    """Return the result, or the refusal. A temporary one is repeated: it is no evidence about the vendor."""
    try:
        return retried(call, _RETRY_DELAYS_S)
    except WiroError as error:
        return error


def _error(call: Callable[[], None]) -> WiroError | None:
    def result() -> bool:
        call()
        return True

    outcome = _or_error(result)
    return outcome if isinstance(outcome, WiroError) else None


def _secrets(settings: Settings) -> list[str]:
    """Return the secrets that a message of the vendor could quote."""
    tokens = (settings.api_token, settings.events_token, settings.notify_secret)
    values = (settings.wiro_api_key, settings.wiro_api_secret, settings.secret, *tokens)
    texts = [value.get_secret_value() for value in values if value]
    return [*texts, *(part.strip() for text in texts for part in text.split(","))]
