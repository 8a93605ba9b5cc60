"""Bells rung together: callbacks that come while others are on their way to Redis go with the next ones.

Alone a callback goes at once, and a second one, too. In a rush a thread takes what has gathered along with its own, so
that the rush costs a fraction of the round trips, and nobody is told that it was heard before Redis has it.
"""

from __future__ import annotations

import threading

from pipeline.callbacks import RunName
from pipeline.errors import Unreachable
from pipeline.ledger import Ledger
from pipeline.wake import Waker

MOST_AT_ONCE = 256
_LONGEST_S = 90.0
"""Longer than Redis' own time limits: they end every wait before this does."""


class _Bell:
    """One callback. `turn` is a lock that is given back when its thread may go on."""

    __slots__ = ("call", "error", "leads", "turn")

    def __init__(self, run: RunName, task: str, token: str) -> None:
        self.call = (run, task, token)
        self.leads = False
        self.error: Exception | None = None
        self.turn = threading.Lock()
        self.turn.acquire()


class Bells:
    """Rings for many threads at once."""

    def __init__(self, ledger: Ledger, waker: Waker) -> None:
        self._ledger = ledger
        self._waker = waker
        self._changing = threading.Lock()
        self._waiting: list[_Bell] = []
        self._leading = 0
        """Threads on their way to Redis: two at most, so that who comes just after the first need not wait for it."""
        self._in_a_rush = False
        """The last to leave took others along: then one alone takes more along, at less cost for each."""

    def ring(self, run: RunName, task: str, token: str) -> None:
        """A callback came for `run`; `task` and `token` are what it claims. Raises Unreachable: Redis has it not."""
        bell = _Bell(run, task, token)
        with self._changing:
            bell.leads = self._leading == 0 or (self._leading == 1 and not self._in_a_rush)
            if bell.leads:
                self._leading += 1
            else:
                self._waiting.append(bell)
        if not bell.leads and not bell.turn.acquire(timeout=_LONGEST_S):
            raise Unreachable("Redis did not answer in time.")
        if bell.leads:
            self._lead(bell)
        if bell.error is not None:
            raise bell.error

    def _lead(self, bell: _Bell) -> None:
        """Ring `bell`, this thread's own, with what waits, and hand on to the first that has come meanwhile."""
        with self._changing:
            together = [bell, *self._waiting[: MOST_AT_ONCE - 1]]
            self._waiting = self._waiting[MOST_AT_ONCE - 1 :]
            self._in_a_rush = len(together) > 1
        error: Exception | None = None
        try:
            if self._ledger.ring_all([bell.call for bell in together]):
                self._waker.wake("collect")
        except Exception as failure:  # whatever it is, the others are not left waiting for it
            error = failure
        with self._changing:
            if isinstance(error, Unreachable):
                # Nobody else is to wait as long for the same answer.
                together, self._waiting = together + self._waiting, []
            if self._waiting and not (self._in_a_rush and self._leading > 1):
                following = self._waiting.pop(0)
                following.leads = True
                following.turn.release()
            else:
                self._leading -= 1
        for bell in together:
            bell.error = error
            bell.turn.release()
