"""Asking once more, as long as the time lasts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar, final

from tfae.serving.client.error import ServingError

T = TypeVar("T")

#: Seconds before the first retry, on average; each later one waits twice as long, up to the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


@final
class Deadline:
    """The instant at which a call has to end, so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds that are left; negative once it has passed."""
        return self._end - time.monotonic()


def ask_with_retries(ask: Callable[[Deadline], T], deadline: Deadline, retries: int) -> T:
    """The answer, asked for once more after each error that may be retried, at most so often and before the deadline.

    ``ask`` has to return or raise before the deadline, too. What its last attempt raises is raised.
    """
    earlier: ServingError | None = None
    for attempt in range(retries + 1):
        try:
            return ask(deadline)
        except ServingError as error:
            if earlier is not None and error.code == "DEADLINE_EXCEEDED":
                error.message += f"; before that: {earlier.message}"
            # Spread at random, so that clients which failed together do not come back together.
            pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.5)
            if not error.may_be_retried or attempt == retries or pause >= deadline.remaining():
                raise
            earlier = error
            time.sleep(pause)
    raise AssertionError("unreachable")
