"""A finished training run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras

from tfae import export
from tfae.atomic_write import validate_apart
from tfae.datasets import Data, load
from tfae.datasets.fingerprint import differences, format_differences
from tfae.detection import Calibration, Truth
from tfae.evaluation import Evaluation
from tfae.preprocessing import Preprocessing
from tfae.runs.directory import explain_unreadable, how_to_resume, load_model, read_json, write_json

CALIBRATION = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        autoencoder: The model, with the weights of the epoch of least validation loss.
        preprocessing: The scaling that it was trained behind.
        config: What ``config.json`` holds.
        evaluation: The measures on the test split.
        calibration: What makes scores alarms; None without a false-alarm rate.
        truth: What labels say of the scores of the test split, if the run has just trained on ``normal`` samples.
    """

    directory: Path
    autoencoder: keras.Model
    preprocessing: Preprocessing
    config: dict[str, Any]
    evaluation: Evaluation
    calibration: Calibration | None = None
    truth: Truth | None = None

    def load_data(self) -> Data:
        """Load the data that the run was trained on once more, as :func:`load_data` does."""
        return load_data(self.directory, self.config)

    def export(
        self,
        export_dir: str | os.PathLike[str],
        *,
        data: Data | dict[str, Any] | None = None,
        ignore: Collection[str] = (),
    ) -> Path:
        """Export the model with :func:`tfae.export.save`, under the next free version number.

        Args:
            export_dir: Folder of the versions, outside of the run's.
            data: What :meth:`load_data` returns: the export is checked on its samples. Its description, by default
                that of the run, has it checked on made samples.
            ignore: Names of checks to leave out, beside those that the training left out.

        Returns:
            The folder of the new version.

        Raises:
            ValueError: As of ``save``; or the evaluation found the model no better than one constant, unless
                "constant" is ignored.
        """
        validate_apart("export_dir", export_dir, self.directory)
        ignored = {*self.config["ignore"], *([ignore] if isinstance(ignore, str) else ignore)}
        useless = next((each for each in self.evaluation.findings if each.name == "no_better_than_constant"), None)
        if useless is not None and "constant" not in ignored:
            raise ValueError(
                f"autoencoder: expected a model that is better than one constant for all samples; received one that is "
                f"not. What to change is among the findings of the evaluation; the run stays in {self.directory}. To "
                f'export it all the same, silence this with ignore=["constant"].'
            )
        return export.save(
            self.autoencoder,
            export_dir,
            preprocessing=self.preprocessing,
            data=self.config["data"] if data is None else data,
            metrics=self.evaluation.as_dict(),
            ignore=sorted(ignored),
            calibration=self.calibration,
        )

    def calibrate(self, calibration: Calibration) -> Run:
        """Return the run with another calibration, once it is written down."""
        write_json(self.directory / CALIBRATION, calibration.as_dict())
        return dataclasses.replace(self, calibration=calibration)


def load_run(run_dir: str | os.PathLike[str]) -> Run:
    """Load the finished run of a directory; ValueError if there is none."""
    directory = Path(run_dir)
    config: dict[str, Any] = {}
    try:
        config = read_json(directory / "config.json")
        preprocessing = read_json(directory / "preprocessing.json")
        measures = read_json(directory / "evaluation.json")
        autoencoder = load_model(directory)
        calibration = None
        if (directory / CALIBRATION).exists():
            calibration = Calibration.from_dict(read_json(directory / CALIBRATION))
    except (OSError, ValueError, KeyError, TypeError) as error:  # The latter two as in resume.
        reason = explain_unreadable(error)
        if config and any(directory.glob("checkpoints/*")):
            reason = f"which is not finished: go on with {how_to_resume(directory, config)}"
        elif any(directory.glob("saved_model.pb")) or any(directory.glob("*/saved_model.pb")):
            reason = "an exported model, which tfae score takes"
        elif isinstance(error, OSError):
            reason = "which holds none"
        raise ValueError(
            f"run_dir: expected the directory of a finished run; received {directory} ({reason})."
        ) from error
    fitted, evaluation = Preprocessing.from_config(preprocessing), Evaluation.from_dict(measures)
    return Run(directory, autoencoder, fitted, config, evaluation, calibration)


def load_data(directory: Path, config: dict[str, Any]) -> Data:
    """Load the data of a run once more, split and scaled as then; ValueError if it came from memory, or has changed."""
    arguments = config["data"]["arguments"]
    if arguments is None:
        raise ValueError(
            f"run_dir: expected a run on a file or a named data set; {directory} had arrays. Pass them in Python: "
            f"tfae.runs.resume({str(directory)!r}, data=...) goes on with a training."
        )
    source, options = arguments["source"], {name: value for name, value in arguments.items() if name != "source"}
    data = load(source, **options)
    if found := differences(config["data"], data):
        raise ValueError(
            f"run_dir: expected the data that {directory} was trained on; {source!r} has changed since: "
            f"it gives other {format_differences(found)}. Name it as another "
            "source to measure the model on what it holds now."
        )
    return data
