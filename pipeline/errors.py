"""What can go wrong, named after what the caller can do about it. A docstring is the message for people."""

from __future__ import annotations

from dataclasses import dataclass


class DailiesError(Exception):
    """Something went wrong."""

    exit_code = 1

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


@dataclass(frozen=True)
class Problem:
    """One mistake in a file. `line` and `column` count from 1; `message` says what would be right."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class InvalidManifest(DailiesError):
    """The manifest has mistakes."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class CannotRead(DailiesError):
    """A file that was named cannot be read."""

    exit_code = 2


class InvalidSchedules(DailiesError):
    """The schedules have mistakes."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class NoSuchSchedule(DailiesError):
    """There is no such schedule."""

    exit_code = 4

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no schedule {name!r}. `dailies schedules` shows those that there are.")


class InvalidTriggers(DailiesError):
    """The triggers have mistakes."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class InvalidSettings(DailiesError):
    """A setting is wrong or missing."""

    exit_code = 2


class Unreachable(DailiesError):
    """A service that is needed does not answer."""

    exit_code = 3


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


class NoSuchBatch(DailiesError):
    """There is no such batch."""

    exit_code = 4

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"There is no batch {batch_id!r}. `dailies list` shows those that there are.")


class NoSuchItem(DailiesError):
    """There is no such item."""

    exit_code = 4

    def __init__(self, batch_id: str, item_id: str) -> None:
        super().__init__(f"Batch {batch_id!r} has no item {item_id!r}. `dailies items {batch_id}` lists them.")


class InvalidBatchId(DailiesError):
    """A batch id is not one that can be a folder's name."""

    exit_code = 2

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"{batch_id!r} cannot be a batch id: up to 128 letters, digits, '.', '_' and '-', beginning with a letter "
            "or a digit, without '..'."
        )


class SubmissionInterrupted(DailiesError):
    """A batch was begun with another manifest, and what began it did not come to an end."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"Batch {batch_id!r} is being submitted with another manifest, or that was cut off. "
            f"If it stays so: `dailies cancel {batch_id}`."
        )


class BatchOnlyOnS3(DailiesError):
    """S3 knows this batch id, the ledger does not."""

    exit_code = 2


class NoBatchThere(DailiesError):
    """S3 has no batch at this address."""

    exit_code = 4

    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder} has no manifest.yaml: give the folder of a batch, s3://bucket/prefix/BATCH/.")


class StorageError(DailiesError):
    """S3 refused or failed. `retryable` says whether the same call may succeed later."""

    exit_code = 3

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class CopyFailed(DailiesError):
    """An output could not be copied to S3. `retryable` says whether the same copy may succeed later."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class NotificationFailed(DailiesError):
    """An address could not be told that a batch has ended. `again` says whether the same may work later."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class OutputGone(CopyFailed):
    """The address of an output does not work (any more): the vendor is asked for a fresh one."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)
