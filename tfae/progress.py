"""What is under way, for who waits: lines of the logger ``tfae.progress``, of level INFO.

The command line shows them on stderr, in log files too; in Python ``logging.basicConfig(level="INFO")`` does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

_T = TypeVar("_T")
#: Silence that is long enough to be broken.
_SECONDS = 10.0


def count(parts: Iterable[_T], what: str, total: int | None = None) -> Iterator[_T]:
    """Yield all parts, and say every ten seconds how many are done."""
    of_all = "" if total is None or total < 0 else f" of {total:,}"  # tf.data has -2 for an unknown number.
    said = time.monotonic()
    for done, part in enumerate(parts):
        if time.monotonic() - said > _SECONDS:
            log.info("%s: %s%s batches", what, f"{done:,}", of_all)
            said = time.monotonic()
        yield part
