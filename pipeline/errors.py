"""Exceptions, named after what the caller can do. A class without a message uses its docstring as the message.

`exit_code` is the exit code of a command that fails with the exception. `retryable` is whether the same call may
succeed later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

ID_RULE = "up to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit, without '..'"
"""What `pipeline/domain/ids.py` allows."""
_MAX_SHOWN = 200
"""Messages show at most this many characters of an id from outside."""


class DailiesError(Exception):
    """The operation failed."""

    exit_code = 1
    retryable: bool = False

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


@contextmanager
def exit_in_words() -> Iterator[None]:
    """End the process if the block raises a DailiesError: its message on stderr, its exit code."""
    try:
        yield
    except DailiesError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


@dataclass(frozen=True)
class Problem:
    """One error in a file. `line` and `column` count from 1. `message` describes what is wrong and what is valid."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class InvalidFile(DailiesError):
    """A file has errors. `problems` lists all of them."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class InvalidManifest(InvalidFile):
    """The manifest has errors."""


class InvalidSchedules(InvalidFile):
    """The schedules file has errors."""


class InvalidTriggers(InvalidFile):
    """The triggers file has errors."""


class CannotRead(DailiesError):
    """A file cannot be read. Check its path and permissions."""

    exit_code = 2


class InvalidArguments(DailiesError):
    """The arguments of the command do not fit together."""

    exit_code = 2


class InvalidSettings(DailiesError):
    """A setting is missing or invalid. `fields`: the names of those that can be left out to load the others."""

    exit_code = 2

    def __init__(self, message: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields


class IncompatibleSchema(DailiesError):
    """Redis has data of a version that this program cannot continue."""

    exit_code = 3

    def __init__(self, found: str, *, oldest: int, current: int) -> None:
        is_newer = found.isdecimal() and int(found) > current
        super().__init__(
            f"Redis (REDIS_URL) has data of schema version {found}; this program supports versions {oldest} to "
            f"{current}. "
            + (
                "Upgrade this program to the release that wrote the data, or set REDIS_URL to another server."
                if is_newer
                else "Finish its batches with the release that wrote the data, or set REDIS_URL to another server."
            )
        )


class InvalidBatchId(DailiesError):
    """The batch id cannot be used as a folder name."""

    exit_code = 2

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"{batch_id[:_MAX_SHOWN]!r} is not a valid batch id. Use {ID_RULE}.")


class InvalidItemId(DailiesError):
    """The item id cannot be used as a folder name."""

    exit_code = 2

    def __init__(self, item_id: str) -> None:
        super().__init__(f"{item_id[:_MAX_SHOWN]!r} is not a valid item id. Use {ID_RULE}.")


class DamagedRecord(DailiesError):
    """A record in Redis or on S3 cannot be read."""


class AmountTooLarge(DailiesError):
    """The amount of money is larger than the ledger can count."""

    exit_code = 2

    def __init__(self, usd: Decimal, max_usd: Decimal) -> None:
        super().__init__(f"{usd:f} USD is more than the ledger can count. Use at most {max_usd:,f} USD.")


class BatchAboveCeiling(DailiesError):
    """The estimated cost of the batch is above a ceiling. Submit fewer items, or raise the ceiling."""

    exit_code = 2


class BatchOnlyOnS3(DailiesError):
    """The batch id is used on S3 but is not in the ledger. Run `dailies recover`, or use another id."""

    exit_code = 2


class SubmissionInterrupted(DailiesError):
    """The submission of this batch with another manifest has not finished."""

    exit_code = 2

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"Another submission of batch {batch_id!r}, with another manifest, is running or was interrupted. "
            f"If it does not finish, run `dailies cancel {batch_id}`."
        )


class SubmissionReplaced(DailiesError):
    """The submission of this batch was cancelled, or replaced by another one, while it went on."""

    exit_code = 2

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"Batch {batch_id!r} was cancelled, or submitted with another manifest, while it was being submitted: this "
            f"submission has started nothing. `dailies status {batch_id}` shows the batch."
        )


class NoSuchBatch(DailiesError):
    """The batch does not exist. `dailies list` shows all batches."""

    exit_code = 4

    def __init__(self, batch_id: str, hint: str = "") -> None:
        super().__init__(f"There is no batch {batch_id[:_MAX_SHOWN]!r}.{hint} `dailies list` shows all batches.")


class AmbiguousBatch(DailiesError):
    """Several batches have ids that begin so. Write more of the id."""

    exit_code = 4

    def __init__(self, beginning: str, candidates: str) -> None:
        super().__init__(f"Several batches begin with {beginning[:_MAX_SHOWN]!r}: {candidates}. Write more of the id.")


class NoSuchItem(DailiesError):
    """The item does not exist. `dailies items BATCH` lists all items."""

    exit_code = 4

    def __init__(self, batch_id: str, item_id: str) -> None:
        super().__init__(
            f"Batch {batch_id!r} has no item {item_id[:_MAX_SHOWN]!r}. `dailies items {batch_id}` lists all items."
        )


class BatchArchived(DailiesError):
    """The items of the batch have left Redis. `dailies recover` loads them again."""

    def __init__(self, batch_id: str, folder: str) -> None:
        super().__init__(
            f"Batch {batch_id!r} is archived: its items are only on S3. `dailies recover {folder}` loads them again."
        )


class BatchNotEnded(DailiesError):
    """The batch has not ended. Wait for its end, or cancel it first."""


class ResultsDiffer(DailiesError):
    """What S3 has of the batch is not what Redis has."""


class OtherContent(DailiesError):
    """The batch id is used by a batch with other content. Use another id."""

    exit_code = 2


class TooManyTakes(DailiesError):
    """The item has as many takes as an item can have."""

    exit_code = 2

    def __init__(self, item_id: str, max_takes: int) -> None:
        super().__init__(f"Item {item_id!r} has {max_takes:,} takes already, and can have no more.")


class NoSuchSchedule(DailiesError):
    """The schedule does not exist. `dailies schedules` shows all schedules."""

    exit_code = 4

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(f"There is no schedule {name!r}.{hint} `dailies schedules` shows all schedules.")


class NoBatchOnS3(DailiesError):
    """The folder on S3 contains no batch."""

    exit_code = 4

    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder} has no manifest.yaml. Give the folder of a batch: s3://bucket/prefix/BATCH/.")


class Unreachable(DailiesError):
    """A required service does not answer."""

    exit_code = 3


class ServiceRefuses(Unreachable):
    """A required service answers, but refuses to serve: it is full, a replica, or does not permit the request."""


class OperationFailed(DailiesError):
    """An operation on another service failed. `retryable` is set for each failure."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class StorageError(OperationFailed):
    """S3 refused a request or failed."""

    exit_code = 3


class CopyFailed(OperationFailed):
    """An output was not copied to S3."""


class OutputGone(CopyFailed):
    """The URL of an output has expired or never worked. Get a new one from the vendor."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class NoOutput(CopyFailed):
    """The vendor's task succeeded without any output. The vendor charges such a run, and a new copy finds no more."""

    def __init__(self) -> None:
        super().__init__("The vendor's task ended well, but without any output.", retryable=False)


class NotificationFailed(OperationFailed):
    """A notification was not delivered."""


class PreviewFailed(OperationFailed):
    """A file has no preview, or it could not be made now. Pages show the file itself."""
