"""Whether a model answers."""

from __future__ import annotations

import time

from tfae.serving.client.binding import Bind
from tfae.serving.client.error import ServingError
from tfae.serving.client.session import Session

#: Seconds between two questions: the first time, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


def wait_for_answer(session: Session, signature: str, bind: Bind, *, timeout: float, attempt_timeout: float) -> None:
    """Ask until there is a good answer.

    Args:
        session: The model.
        signature: What to ask.
        bind: What to ask with.
        timeout: Seconds after which to give up.
        attempt_timeout: Seconds of one question: what hangs while it starts may be well a moment later.

    Raises:
        ServingError: If there was no good answer in time, with the last thing that went wrong.
        ValueError: If the question does not fit the model.
    """
    end = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            session.ask(signature, bind, timeout=max(min(attempt_timeout, end - time.monotonic()), 1e-3), retries=0)
            return
        except ServingError as error:
            if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                raise  # Waiting changes nothing about that.
            if time.monotonic() + pause >= end:
                message = f"not ready within {timeout:g} s, at last because of: {error.message}"
                raise ServingError("DEADLINE_EXCEEDED", message, error.request) from error
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
