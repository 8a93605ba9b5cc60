"""Object events from an SQS queue: long polling; a message is deleted after it is processed.

If a listener is killed, its messages become visible again. A message that is invalid or fails is not deleted: the
queue's redrive policy moves it to the dead-letter queue. A message whose batch waits for the next day stays invisible
until then.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.errors import DailiesError
from pipeline.triggers.dispatch import Dispatcher, EventOutcome
from pipeline.triggers.events import NotAnEvent, parse
from pipeline.triggers.rule import Rule

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

log = structlog.get_logger()

LONG_POLL_S = 20
"""How long a request waits for messages: the maximum of SQS, for the fewest requests."""
VISIBILITY_TIMEOUT_S = 60
"""After this time a message that was not deleted is delivered again."""
_MAX_DEFER_S = 11 * 3600
"""How long a message can stay invisible: a little less than the maximum of SQS."""
_MISSING_RETRY_S = 45
"""When to look again for an object: `MISSING_WAIT_S` is over before a redrive policy counts five deliveries."""
_S_PER_DAY = 86_400
_EXTEND_INTERVAL_S = 20.0
_MAX_CONCURRENT = 10
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=LONG_POLL_S + 10,
    max_pool_connections=4,
    retries={"mode": "standard", "total_max_attempts": 3},
)


class QueueError(DailiesError):
    """The queue refused a request or did not respond."""


class _Next(Enum):
    """What becomes of a message."""

    DELETE = auto()
    RETRY = auto()
    WAIT_FOR_NEXT_DAY = auto()
    LOOK_AGAIN = auto()


class _Entry(TypedDict):
    Id: str
    ReceiptHandle: str


class Queue:
    """A queue and the rules for its messages. boto3 uses AWS_ENDPOINT_URL_SQS if it is set."""

    pause_s = 0.0

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._url = rules[0].queue_url
        self.is_idle = False
        """Whether it waits for messages and holds none."""
        self._client: SQSClient | None = None
        self._executor = ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix="sqs")

    @property
    def _sqs(self) -> SQSClient:
        if self._client is None:
            try:
                self._client = boto3.client("sqs", region_name=region_of(self._url), config=_CONFIG)
            except (BotoCoreError, ValueError) as error:
                raise QueueError(f"SQS cannot be used: {error}") from None
        return self._client

    def check(self) -> Mapping[str, str]:
        """Return the attributes of the queue. Raises QueueError."""
        try:
            response = self._sqs.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
            )
        except (ClientError, BotoCoreError) as error:
            raise self._error(error) from None
        return {str(name): value for name, value in response.get("Attributes", {}).items()}

    def run_once(self, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        """Wait for messages and process them. Raises QueueError."""
        try:
            messages = self._receive()
            if stopping.is_set():
                self._set_visibility(messages, 0)
            else:
                self._process(messages, dispatcher)
        except (ClientError, BotoCoreError) as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Release the threads."""
        self._executor.shutdown(wait=False)

    def _receive(self) -> Sequence[MessageTypeDef]:
        self.is_idle = True
        try:
            response = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_MAX_CONCURRENT,
                WaitTimeSeconds=LONG_POLL_S,
                VisibilityTimeout=VISIBILITY_TIMEOUT_S,
            )
        finally:
            self.is_idle = False
        return response.get("Messages", [])

    def _process(self, messages: Sequence[MessageTypeDef], dispatcher: Dispatcher) -> None:
        running = {
            self._executor.submit(_handle, message.get("Body", ""), dispatcher, self._rules): message
            for message in messages
        }
        while running:
            done, _ = wait(running, timeout=_EXTEND_INTERVAL_S)
            finished = [(_next(future), running.pop(future)) for future in done]
            self._delete([message for following, message in finished if following is _Next.DELETE])
            waiting = [message for following, message in finished if following is _Next.WAIT_FOR_NEXT_DAY]
            self._set_visibility(waiting, min(_MAX_DEFER_S, _S_PER_DAY - int(time.time()) % _S_PER_DAY))
            missing = [message for following, message in finished if following is _Next.LOOK_AGAIN]
            self._set_visibility(missing, _MISSING_RETRY_S)
            self._set_visibility(list(running.values()), VISIBILITY_TIMEOUT_S)

    def _delete(self, messages: Sequence[MessageTypeDef]) -> None:
        if messages:
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=_entries(messages))

    def _set_visibility(self, messages: Sequence[MessageTypeDef], after_s: int) -> None:
        if messages:
            entries: list[Any] = [{**entry, "VisibilityTimeout": after_s} for entry in _entries(messages)]
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def _error(self, error: Exception) -> QueueError:
        if not isinstance(error, ClientError):
            return QueueError(f"SQS did not respond for {self._url}: {error}")
        details = error.response.get("Error", {})
        return QueueError(f"SQS refused {self._url}: {details.get('Code', 'unknown')}: {details.get('Message', '')}")


def region_of(url: str) -> str | None:
    """Return the region in a queue's URL; None if boto3's own settings decide."""
    match = re.fullmatch(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", urlsplit(url).hostname or "")
    return match[1] if match else None


def _entries(messages: Sequence[MessageTypeDef]) -> list[_Entry]:
    return [
        {"Id": str(number), "ReceiptHandle": message.get("ReceiptHandle", "")}
        for number, message in enumerate(messages)
    ]


def _handle(body: str, dispatcher: Dispatcher, rules: Sequence[Rule]) -> _Next:
    """Process a message."""
    problem = None
    try:
        events = parse(body)
    except NotAnEvent as error:
        # The others of its records are processed. The message stays for the redrive policy.
        events, problem = list(error.events), error
    try:
        if problem:
            dispatcher.store.set_message_aside(rules[0].queue_url or "SQS", body, str(problem))
        outcomes = dispatcher.handle_all(events, rules)
    except DailiesError as error:
        log.warning("message_deferred", error=str(error), kind=type(error).__name__)
        return _Next.RETRY
    if problem:
        log.error("message_invalid", error=str(problem), body_start=body[:200])
        return _Next.RETRY
    if EventOutcome.MISSING in outcomes:
        return _Next.LOOK_AGAIN
    return _Next.WAIT_FOR_NEXT_DAY if EventOutcome.DEFERRED in outcomes else _Next.DELETE


def _next(future: Future[_Next]) -> _Next:
    error = future.exception()
    if error is not None:
        log.error("message_crashed", exc_info=error)
        return _Next.RETRY
    return future.result()
