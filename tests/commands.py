"""The command line, in this process."""

import sys

import keras
import pytest
from click.testing import CliRunner

from tfae.cli import main


def run(*arguments, code=0):
    """What a command printed; an error unless it ended with that exit code."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exit_code != code:
        raise AssertionError(f"exit code {result.exit_code}\n{result.output}") from result.exception
    return result


class BegunError(Exception):
    """What ends a training at its first step."""


def begin(*arguments):
    """What ``tfae train`` says up to its first step; its run is in the directory by then, and is not finished."""

    def fit(*_, **__):
        raise BegunError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", fit)
        result = CliRunner().invoke(main, ["train", *(str(argument) for argument in arguments)])
    if not isinstance(result.exception, BegunError):
        raise AssertionError(result.output) from result.exception
    return result


def train(*arguments, export_dir=None):
    """``tfae train`` without pictures, and without an export where there is no folder for it; both take long.

    What is trained for an epoch need not beat a constant.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfae.report.draw_pictures", lambda *_: {})
        if export_dir is None:
            patch.setattr(sys.modules["tfae.cli.train"], "_export", lambda *_: None)
        return run(
            "train", *arguments, *(() if export_dir is None else ("--ignore", "constant", "--export-dir", export_dir))
        )
