"""Contestants that take turns, so that what slows the machine slows all of them, and ratios mean something.

Each has a process of its own, idle while it is not its turn: the threads of one library would wait, and spin, in the
way of another's.
"""

import contextlib
import io
import logging
import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from rich.table import Table

#: Does some work, and returns how many samples, or other units, it did.
Contestant = Callable[[], float]


def measure(
    contestants: Mapping[str, Callable[[], Contestant]], rounds: int, left_out: Callable[[str], object] = print
) -> dict[str, list[float]]:
    """Let contestants take turns.

    Args:
        contestants: Functions that make them; they are called in processes of their own, and have to be picklable.
        rounds: How many, after a first one that does not count.
        left_out: Called with a sentence about each whose library is not installed.

    Returns:
        The units per second of every contestant in every round.
    """
    context = multiprocessing.get_context("spawn")
    speeds: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        ends: dict[str, Connection] = {}
        for name, make in contestants.items():
            ends[name], there = context.Pipe()
            process = context.Process(target=_take_turns, args=(make, there), daemon=True)
            process.start()
            stack.callback(process.terminate)
        for name in contestants:
            answer = ends[name].recv()
            if isinstance(answer, ImportError):
                left_out(f"{name} is left out: {answer}. The extra bench installs it.")
                del ends[name]
            else:
                speeds[name] = []
        for turn in range(rounds + 1):
            for name, end in ends.items():
                end.send("go")
                speed = end.recv()
                if isinstance(speed, Exception):
                    raise speed
                if turn:
                    speeds[name].append(speed)
    return speeds


def ratios(speeds: dict[str, list[float]], of: str, to: str) -> list[float]:
    """How many times faster ``of`` was than ``to``, round by round."""
    return [a / b for a, b in zip(speeds[of], speeds[to], strict=True)]


def table(speeds: dict[str, list[float]], *, title: str, unit: str, of: str, roof: str | None = None) -> Table:
    """Medians of the speeds, and how many times faster ``of`` is than each: median, and quartiles."""
    headings = ["", unit, f"{of} is faster by", "quartiles"] + (["share of the roof"] if roof else [])
    result = Table(*headings, title=title)
    for name, values in speeds.items():
        low, middle, high = np.percentile(ratios(speeds, of, name), [25, 50, 75])
        share = [f"{np.median(ratios(speeds, name, roof)):.2f}"] if roof else []
        result.add_row(name, f"{np.median(values):,.4g}", f"{middle:.2f}", f"{low:.2f} – {high:.2f}", *share)
    return result


def _take_turns(make: Callable[[], Contestant], end: Connection) -> None:
    logging.disable()
    # Progress bars of peers that can not be turned off.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        answer: Any = None
        try:
            run = make()
        except ImportError as error:
            answer = error
        end.send(answer)
        while answer is None and end.recv() == "go":
            try:
                start = time.perf_counter()
                units = run()
                end.send(units / (time.perf_counter() - start))
            except Exception as error:
                end.send(error)
