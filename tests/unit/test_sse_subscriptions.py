"""Who watches a batch: one reader for all, so many and no more."""

from __future__ import annotations

import threading

import pytest
from support.waiting import WaitFor

from pipeline.errors import NoSuchBatch, Unreachable
from pipeline.web.api import sse_subscriptions
from pipeline.web.api.sse_subscriptions import SseSubscriptions, TooManySubscriptions


class Story:
    """A batch whose chapters are read one after the other; the last is the end."""

    def __init__(self, *chapters: str) -> None:
        self._chapters = list(chapters)
        self.reads = 0

    def read(self, batch_id: str) -> tuple[str, bool]:
        self.reads += 1
        chapter = self._chapters.pop(0) if len(self._chapters) > 1 else self._chapters[0]
        if chapter == "away":
            raise Unreachable
        if chapter == "gone":
            raise NoSuchBatch(batch_id)
        return chapter, chapter == "end"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_subscriptions, "POLL_S", 0.02)


def told(found: SseSubscriptions) -> list[str]:
    watcher = found.follow("b")
    try:
        return [text for text in watcher if text is not None]
    finally:
        watcher.close()


def test_a_watcher_hears_what_changes_until_the_end() -> None:
    story = Story("one", "one", "one", "end")
    assert told(SseSubscriptions(story.read, 4)) == ["one", "end"]


def test_many_watchers_cost_no_more_reads_than_one() -> None:
    story = Story("one", "two", "three", "end")
    found = SseSubscriptions(story.read, 50)
    heard: list[list[str]] = []
    watchers = [threading.Thread(target=lambda: heard.append(told(found))) for _ in range(20)]
    first = found.follow("b")
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(10)
    first.close()
    assert len(heard) == 20
    assert all(texts[-1] == "end" for texts in heard)
    # The first to come reads, and the poller; whoever comes after the end reads it once more.
    assert story.reads <= 4 + 20
    assert sum(texts == ["end"] for texts in heard) >= story.reads - 4


def test_a_batch_that_is_not_there_is_not_watched_and_takes_no_place() -> None:
    found = SseSubscriptions(Story("gone").read, 1)
    for _ in range(3):
        with pytest.raises(NoSuchBatch):
            found.follow("b")


def test_so_many_watch_and_no_more() -> None:
    found = SseSubscriptions(Story("one").read, 2)
    first, second = found.follow("b"), found.follow("b")
    with pytest.raises(TooManySubscriptions):
        found.follow("b")
    first.close()
    first.close()
    third = found.follow("b")
    with pytest.raises(TooManySubscriptions):
        found.follow("b")
    second.close()
    third.close()


def test_nobody_reads_once_nobody_watches(wait_for: WaitFor) -> None:
    found = SseSubscriptions(Story("one").read, 2)
    found.follow("b").close()
    wait_for(lambda: not any(thread.name == "watch b" for thread in threading.enumerate()), "the poller's end")


def test_a_server_that_is_away_for_a_moment_ends_nothing() -> None:
    assert told(SseSubscriptions(Story("one", "away", "away", "two", "end").read, 1)) == ["one", "two", "end"]


def test_where_nothing_is_new_a_heartbeat_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_subscriptions, "HEARTBEAT_S", 0.05)
    watcher = SseSubscriptions(Story("one").read, 1).follow("b")
    texts = iter(watcher)
    assert [next(texts), next(texts), next(texts)] == ["one", None, None]
    watcher.close()
