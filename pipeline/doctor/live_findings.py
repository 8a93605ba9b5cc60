"""What each observation of `doctor --live` means: observation → finding. Pure.

OK: as the client assumes. Note: different, and the service handles it. Wrong: something must be changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.doctor.output_request import OutputResponse
from pipeline.domain.formatting import dollars, duration, pluralize
from pipeline.domain.money import overcharge_warning
from pipeline.ledger.live_checks import ReceivedCallback
from pipeline.wiro.client import Task, TaskOutput
from pipeline.wiro.errors import NotFound, WiroError
from pipeline.wiro.model_price import PriceEstimate

_ACCEPTED = 200
_SIGNATURE_WORDS = ("signature", "hmac", "authorization")
_MIN_LIFETIME_S = 3600


def run_result(task: Task) -> Finding:
    """Judge the end of the run."""
    subject = "run"
    if not task.succeeded:
        fix = "Look at the task at the vendor. Run the check again with another model if the model is the reason."
        return wrong(subject, f"The run failed: {task.failure_reason}", fix)
    seconds = "" if task.elapsed_s is None else f" after {duration(task.elapsed_s)}"
    return ok(subject, f"succeeded{seconds} with {pluralize(len(task.outputs), 'output')}")


def detail_fields(task: Task) -> list[Finding]:
    """Judge whether Task/Detail has `pexit` and `totalcost`."""
    has_pexit, has_cost = bool(task.pexit), task.cost_usd is not None
    return [
        ok("Detail: pexit", "present")
        if has_pexit
        else note("Detail: pexit", "missing: a run with an output counts as a success"),
        ok("Detail: totalcost", "present")
        if has_cost
        else note(
            "Detail: totalcost",
            "missing: the stated price is counted as the cost of a run",
            "Compare the cost of batches with the vendor's invoice.",
        ),
    ]


def price(stated: PriceEstimate, charged: Decimal | None, budget_usd: Decimal) -> Finding:
    """Compare the price that Tool/Detail states with the charge."""
    subject = "price"
    high = dollars(stated.high_usd)
    expected = high if stated.low_usd == stated.high_usd else f"{dollars(stated.low_usd)} to {high}"
    if charged is None:
        return note(subject, f"stated {expected}; the charge is not known, because Task/Detail has no totalcost")
    message = f"stated {expected}, charged {dollars(charged)}"
    fix = "Report it to the vendor. Set `limits.budget_usd` in manifests: such a charge pauses the batch."
    if overcharge_warning("the run", charged, stated.high_usd) or charged > budget_usd:
        return wrong(subject, message, fix)
    if not stated.low_usd <= charged <= stated.high_usd:
        return note(subject, message, "Set `limits.budget_usd` by the charge, not by the dry run.")
    return ok(subject, message)


def listing(rows: Sequence[Task] | WiroError, task: Task, prompt: str, *, has_callback: bool) -> list[Finding]:
    """Judge whether Task/List is allowed, and whether its rows identify their runs."""
    subject, fix = "Task/List", "Set PIPELINE_ON_UNKNOWN and PIPELINE_ADOPT_WAIT_S for runs whose response is lost."
    if isinstance(rows, WiroError):
        message = f"refused ({_kind(rows)}): {rows} A run whose response is lost is adopted by its callback only."
        return [note(subject, message, f"Allow the key's project to list tasks. Else: {fix}")]
    row = next((row for row in rows if _is_same(row, task)), None)
    if row is None:
        return [note(subject, "allowed, but the task of this run is not in it", fix)]
    found = [ok(subject, "allowed; it has the task of this run")]
    has_parameters = row.parameters.get("prompt") == prompt
    if not has_callback:
        found.append(note("Task/List: callbackurl", "not tested: the run had no callback URL"))
    elif row.callback_url:
        found.append(ok("Task/List: callbackurl", "present: lost runs are found by it"))
    else:
        message = "missing: lost runs are found by their parameters, if exactly one task matches"
        found.append(note("Task/List: callbackurl", message, "Give the items of a batch different prompts or images."))
    if has_parameters:
        return [*found, ok("Task/List: parameters", "the prompt is as sent")]
    return [*found, note("Task/List: parameters", "the prompt is missing or not as sent", fix)]


def _is_same(row: Task, task: Task) -> bool:
    return row.token == task.token if row.token and task.token else row.id == task.id


def stop_refused(name: str, refusal: WiroError | None) -> Finding:
    """Judge how Cancel or Kill of an ended task was refused. None: it was accepted."""
    subject = f"{name} of an ended task"
    fix = "Check cancelled batches at the vendor: their tasks may go on and be charged."
    if refusal is None:
        return note(subject, "accepted, where a refusal is documented", fix)
    if isinstance(refusal, NotFound):
        return ok(subject, f"refused as documented: {refusal}")
    return note(subject, f"refused in another way ({_kind(refusal)}): {refusal}", fix)


def nonce(reused: bool | WiroError | None) -> Finding:
    """Judge whether a nonce may be used twice. None: the project signs nothing."""
    subject = "reused nonce"
    if reused is None:
        return note(subject, "not tested: the project signs nothing", "Set WIRO_API_SECRET to test it.")
    if isinstance(reused, WiroError):
        return note(subject, f"not tested ({_kind(reused)}): {reused}")
    if reused:
        return ok(subject, "accepted")
    return note(subject, "refused: the vendor protects against replay. The client sends a new nonce each time.")


def callbacks(
    received: Sequence[ReceivedCallback], ended: datetime | None, *, waited_s: float, quiet_s: float
) -> list[Finding]:
    """Judge how the callbacks came. `ended`: the end of the task by the vendor's clock.

    `waited_s`: how long none was waited for after the end, `quiet_s`: after the last one.
    """
    if not received:
        message = f"None came within {duration(waited_s)} of the end. Each run ends at its next poll instead."
        fix = (
            "Let the vendor reach PIPELINE_PUBLIC_URL from the internet, without a redirect or a login. Restart web "
            "processes of an older version. Without callbacks, lower PIPELINE_POLL_AFTER_S."
        )
        return [wrong("callback", message, fix)]
    first = received[0]
    delay = "" if ended is None else f"the first {_delay((first.received - ended).total_seconds())}; "
    return [
        ok("callback", f"{delay}{first.content_type or 'no content type'}"),
        _attempts(received, quiet_s),
        _headers(first),
        ok("callback: body", f"`{first.shape}`")
        if first.names_task
        else note(
            "callback: body",
            f"names no task, so a lost run is searched for in Task/List: `{first.shape}`",
        ),
    ]


def _delay(seconds: float) -> str:
    return f"{duration(abs(seconds))} {'after' if seconds >= 0 else 'before'} the end, by two clocks"


def _attempts(received: Sequence[ReceivedCallback], quiet_s: float) -> Finding:
    subject = "callback: attempts"
    pauses = [after.received - before.received for before, after in pairwise(received)]
    apart = ", ".join(duration(pause.total_seconds()) for pause in pauses)
    seen = pluralize(len(received), "attempt") + (f", {apart} apart" if apart else "")
    if all(callback.status != _ACCEPTED for callback in received):
        message = f"{seen}; all were refused with 503 for this test, and none followed within {duration(quiet_s)}"
        return note(
            subject, message, "Lower PIPELINE_POLL_AFTER_S: the vendor gives up early on a receiver in trouble."
        )
    if sum(callback.status == _ACCEPTED for callback in received) > 1:
        return note(subject, f"{seen}; it came again after a response with 200")
    return ok(subject, f"{seen}; repeated after 503, and not after 200")


def _headers(callback: ReceivedCallback) -> Finding:
    names = ", ".join(callback.headers)
    signed = [name for name in callback.headers if any(word in name.lower() for word in _SIGNATURE_WORDS)]
    if signed:
        return note("callback: headers", f"{names}. {', '.join(signed)} may be a signature, which is not checked.")
    return ok("callback: headers", f"{names}. No signature.")


def output_host(response: OutputResponse) -> Finding:
    """Judge whether workers may fetch outputs from their hosts."""
    redirects = f" after {pluralize(len(response.hosts) - 1, 'redirect')}" if len(response.hosts) > 1 else ""
    message = f"{', '.join(dict.fromkeys(response.hosts))}{redirects}"
    if not response.refused:
        return ok("output: host", message)
    missing = ",".join(dict.fromkeys(response.refused))
    return wrong(
        "output: host", f"{message}: not allowed, so no output is copied", f"Add {missing} to PIPELINE_FETCH_HOSTS."
    )


def output_response(output: TaskOutput, response: OutputResponse, max_output_mb: int) -> Finding:
    """Compare the response for an output with Task/Detail."""
    subject = "output: response"
    if response.status is None:
        return wrong(subject, f"no response ({response.error})", "Allow requests to this host: PIPELINE_FETCH_HOSTS.")
    size = "no size" if response.size is None else f"{response.size:,} bytes"
    message = f"HTTP {response.status}, {response.content_type or 'no content type'}, {size}"
    if response.status != _ACCEPTED:
        return wrong(subject, message, "Run the check again. If it repeats, report it to the vendor.")
    if output.size and response.size and output.size != response.size:
        return wrong(
            subject, f"{message}; Task/Detail states {output.size:,} bytes: no copy is made", "Report it to the vendor."
        )
    if (response.size or output.size or 0) > max_output_mb * 1_000_000:
        return wrong(subject, message, "Raise PIPELINE_MAX_OUTPUT_MB.")
    if output.content_type and output.content_type != response.content_type:
        return note(subject, f"{message}; Task/Detail states {output.content_type}")
    return ok(subject, f"{message}, as Task/Detail states")


def output_expiry(output: TaskOutput, now: datetime) -> Finding:
    """Judge for how long the URL of an output works."""
    subject = "output: expiry"
    if output.expires is None:
        return note(subject, "not stated", "Let workers run when runs end: a URL may expire before it is copied.")
    left_s = (output.expires - now).total_seconds()
    if left_s < _MIN_LIFETIME_S:
        message = f"the URL expires {duration(max(left_s, 0))} after this check"
        return note(subject, message, "Lower PIPELINE_POLL_AFTER_S, and let workers run when runs end.")
    return ok(subject, f"the URL works for another {duration(left_s)}")


def _kind(error: WiroError) -> str:
    return type(error).__name__
