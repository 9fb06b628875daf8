"""Rank correlation of what comes batch by batch, in bounded memory."""

from __future__ import annotations

import numpy as np
import scipy.stats

#: Rows that a :class:`Reservoir` holds. Of so many, Spearman's correlation has a standard error below 0.003 (Fieller,
#: Hartley, Pearson, "Tests for rank correlation coefficients", 1957: 1.03 / √(n − 3)).
NUM_ROWS = 2**17


class Reservoir:
    """A random sample of rows, without replacement: all of them up to ``num_rows``, and the same ones every time.

    Every row draws a number, and those of the least numbers stay (Vitter, "Random sampling with a reservoir", 1985).

    Args:
        width: Length of a row.
        num_rows: How many are kept.
    """

    def __init__(self, width: int, num_rows: int) -> None:
        self.rows = np.empty((0, width))
        self._num_rows = num_rows
        self._numbers = np.empty(0)
        self._waiting: list[np.ndarray] = []
        self._num_waiting = 0
        self._generator = np.random.default_rng(0)

    def add(self, rows: np.ndarray) -> None:
        """Take in more rows, ``(n, width)``."""
        self._waiting.append(rows)
        self._num_waiting += len(rows)
        # Rarely, so that what is kept is not copied for every batch.
        if self._num_waiting >= self._num_rows:
            self.draw()

    def draw(self) -> np.ndarray:
        """The rows that are kept of all so far, ``(n, width)`` in no order."""
        rows = np.concatenate([self.rows, *self._waiting])
        numbers = np.concatenate([self._numbers, self._generator.random(self._num_waiting)])
        self._waiting, self._num_waiting = [], 0
        if len(rows) > self._num_rows:
            kept = np.argpartition(numbers, self._num_rows)[: self._num_rows]
            rows, numbers = rows[kept], numbers[kept]
        self.rows, self._numbers = rows, numbers
        return rows


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's; None where one of the two is the same throughout."""
    if (a == a[0]).all() or (b == b[0]).all():  # Infinite ones are ranked, too.
        return None
    return float(scipy.stats.spearmanr(a, b).statistic)
