"""Trainings that end before their end, and what they then come to."""

import numpy as np

from tfae.training import execution


class CrashError(BaseException):
    """What stands for the end of the process."""


def crash(*_, **__):
    raise CrashError


def at_call(monkeypatch, call, action=crash):
    """Act at a call of the train function, counted from 0: there are one or more in an epoch."""
    original = execution.Execution.__call__
    calls = iter(range(10**6))

    def acting(self, iterator):
        if next(calls) == call:
            action()
        return original(self, iterator)

    monkeypatch.setattr(execution.Execution, "__call__", acting)


def assert_same(run, expected):
    """Of the same bits in weights and losses."""
    np.testing.assert_equal(run.autoencoder.get_weights(), expected.autoencoder.get_weights())
    history, other = ((each.directory / "history.csv").read_text() for each in (run, expected))
    assert history == other
    assert run.evaluation == expected.evaluation
