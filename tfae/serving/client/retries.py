"""Retries with a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar, final

from tfae.serving.client.error import ServingError

T = TypeVar("T")

#: Seconds before the first retry, on average; the pause doubles with each retry, up to the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


@final
class Deadline:
    """The instant at which a call ends, ``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds that are left; negative after the deadline."""
        return self._end - time.monotonic()


def ask_with_retries(ask: Callable[[], T], deadline: Deadline, retries: int) -> T:
    """Return what ``ask`` returns, or its last error; ``retries`` calls more at most, none after the deadline."""
    earlier: ServingError | None = None
    mean_pause = FIRST_PAUSE
    while True:
        try:
            return ask()
        except ServingError as error:
            if earlier is not None and error.code == "DEADLINE_EXCEEDED":
                error.message += f"; before that: {earlier.message}"
            # The random factor keeps clients that failed together from coming back together.
            pause = mean_pause * random.uniform(0.5, 1.5)
            if not error.may_be_retried or not retries or pause >= deadline.remaining():
                raise
            time.sleep(pause)
            earlier, retries, mean_pause = error, retries - 1, min(2 * mean_pause, LONGEST_PAUSE)
