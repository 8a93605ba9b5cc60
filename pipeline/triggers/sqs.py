"""Word of objects through an SQS queue: long poll, and a message is deleted when there is nothing left to do for it.

A listener may be killed at any moment: what it held comes again. What cannot be understood or carried out is left, so
that the queue's redrive policy puts it aside.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.errors import DailiesError
from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.events import NotAnEvent, parse
from pipeline.triggers.rule import Rule

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

log = structlog.get_logger()

WAIT_S = 20
"""How long an empty queue holds the line: the longest that SQS allows, the fewest requests."""
VISIBLE_AGAIN_S = 60
"""After this a message that nobody has deleted comes again."""
_EXTEND_EVERY_S = 20.0
_MAX_CONCURRENT = 10
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=WAIT_S + 10,
    max_pool_connections=4,
    retries={"mode": "standard", "total_max_attempts": 3},
)


class QueueError(DailiesError):
    """The queue refuses, or does not answer."""


class _Entry(TypedDict):
    Id: str
    ReceiptHandle: str


class Queue:
    """One queue and the rules of its messages. It is asked at AWS_ENDPOINT_URL_SQS where that is set."""

    pause_s = 0.0

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._url = rules[0].queue_url
        self.waits = False
        """Whether it waits for messages: it holds none then."""
        self._made: SQSClient | None = None
        self._executor = ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix="sqs")

    @property
    def _sqs(self) -> SQSClient:
        if self._made is None:
            try:
                self._made = boto3.client("sqs", region_name=region_of(self._url), config=_CONFIG)
            except (BotoCoreError, ValueError) as error:
                raise QueueError(f"SQS cannot be used: {error}") from None
        return self._made

    def check(self) -> Mapping[str, str]:
        """Attributes of the queue. Raises QueueError."""
        try:
            answer = self._sqs.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
            )
        except (ClientError, BotoCoreError) as error:
            raise self._error(error) from None
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    def step(self, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        """Wait for messages and see to them. Raises QueueError."""
        try:
            messages = self._receive()
            if stopping.is_set():
                self._set_visibility(messages, 0)
            else:
                self._work(messages, dispatcher)
        except (ClientError, BotoCoreError) as error:
            raise self._error(error) from None

    def close(self) -> None:
        """There will be no further step."""
        self._executor.shutdown(wait=False)

    def _receive(self) -> Sequence[MessageTypeDef]:
        self.waits = True
        try:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_MAX_CONCURRENT,
                WaitTimeSeconds=WAIT_S,
                VisibilityTimeout=VISIBLE_AGAIN_S,
            )
        finally:
            self.waits = False
        return answer.get("Messages", [])

    def _work(self, messages: Sequence[MessageTypeDef], dispatcher: Dispatcher) -> None:
        working = {
            self._executor.submit(_is_done, message.get("Body", ""), dispatcher, self._rules): message
            for message in messages
        }
        while working:
            done, _ = wait(working, timeout=_EXTEND_EVERY_S)
            finished = [(future, working.pop(future)) for future in done]
            self._delete([message for future, message in finished if _answer(future)])
            self._set_visibility(list(working.values()), VISIBLE_AGAIN_S)

    def _delete(self, messages: Sequence[MessageTypeDef]) -> None:
        if messages:
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=_entries(messages))

    def _set_visibility(self, messages: Sequence[MessageTypeDef], after_s: int) -> None:
        if messages:
            entries: list[Any] = [{**entry, "VisibilityTimeout": after_s} for entry in _entries(messages)]
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def _error(self, error: Exception) -> QueueError:
        if not isinstance(error, ClientError):
            return QueueError(f"SQS does not answer for {self._url}: {error}")
        told = error.response.get("Error", {})
        return QueueError(f"SQS refused {self._url}: {told.get('Code', 'unknown')}: {told.get('Message', '')}")


def region_of(url: str) -> str | None:
    """The region that a queue's URL names; None leaves it to boto3's own settings."""
    found = re.fullmatch(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", urlsplit(url).hostname or "")
    return found[1] if found else None


def _entries(messages: Sequence[MessageTypeDef]) -> list[_Entry]:
    return [
        {"Id": str(number), "ReceiptHandle": message.get("ReceiptHandle", "")}
        for number, message in enumerate(messages)
    ]


def _is_done(body: str, dispatcher: Dispatcher, rules: Sequence[Rule]) -> bool:
    """See to a message. False when it is to be left on the queue."""
    try:
        for event in parse(body):
            dispatcher.handle(event, rules)
    except NotAnEvent as error:
        log.error("message_not_understood", error=str(error), begins=body[:200])
        return False
    except DailiesError as error:
        log.warning("message_left", error=str(error), kind=type(error).__name__)
        return False
    return True


def _answer(future: Future[bool]) -> bool:
    error = future.exception()
    if error is not None:
        log.error("message_broke", exc_info=error)
        return False
    return future.result()
