"""Losses side by side: the same model, trained from the same weights on the same batches, under each of them.

::

    runs/<name>/
        plan.json           what is compared on what
        <training data>/<loss>/seed_<n>/
            …               a run directory of tfae.runs
            probes.json     what its latent knows of the labels
        comparison.json     the table; comes last
        report.html         what write_page makes of it
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import os
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfae import models, provenance, runs, training
from tfae.atomic_write import validate_apart
from tfae.comparison.comparison_page import write_page
from tfae.comparison.corruption import CORRUPTIONS, Corruption, corrupt
from tfae.comparison.plan import (
    Build,
    begin,
    build_models,
    build_seeded,
    check_losses,
    choose_corruptions,
    choose_losses,
    corrupt_each,
    digest_of_layers,
)
from tfae.comparison.probes import probe
from tfae.comparison.result import (
    CLEAN,
    FILE,
    Comparison,
    Row,
    SeedValues,
    compared_metrics,
    find_winner,
    load_comparison,
)
from tfae.datasets import Data, load_if_needed
from tfae.datasets.fingerprint import fingerprint
from tfae.losses import ReconstructionLoss, for_table
from tfae.runs.directory import lock, read_json, write_json
from tfae.training import Interrupted

__all__ = [
    "CORRUPTIONS",
    "Comparison",
    "Corruption",
    "Interrupted",
    "Row",
    "SeedValues",
    "compare",
    "compared_metrics",
    "corrupt",
    "find_winner",
    "load_comparison",
    "probe",
    "write_page",
]


def compare(
    data: Data | Any,
    losses: Sequence[str | ReconstructionLoss] | None = None,
    *,
    run_dir: str | os.PathLike[str],
    seeds: int = 3,
    epochs: int = 30,
    build: Build | None = None,
    corruptions: Sequence[str | Corruption] = (),
    learning_rate: float | None = None,
    sample_reduction: str = "sum",
    ignore: Collection[str] = (),
    verbose: bool = True,
) -> Comparison:
    """Train the same autoencoder under each loss, and put what came out side by side.

    Within a seed, all losses begin with the same weights and see the same batches in the same order, for the same
    number of epochs: there is no early stopping, only the weights of the epoch of least validation loss are kept. Each
    training is one of :func:`tfae.runs.train`, in a directory of its own. Seeds differ in all that a model draws and
    in what a corruption hits; the splits and the order of the batches are always those of ``data``.

    With ``corruptions``, all of it is repeated on training data that each of them has damaged; see :func:`corrupt`.
    Everything is measured on the clean test split, and scaled as the clean training split is. The skills alone are
    relative to baselines that were fitted on what the model was trained on.

    A comparison can be stopped, or killed, at any instant. The same call again skips the runs that are finished, goes
    on with the one that was under way, and ends, on a CPU, with the table of a comparison that was not stopped.

    Args:
        data: What to train on, as ``tfae.datasets.load`` returned it, or takes it.
        losses: Losses of :mod:`tfae.losses`, or their names, as ``tfae.losses.get`` takes them. None for all that
            are registered and defined on the data, but for variants of others, whose ``in_comparison`` is False. Their
            own ``name`` is what they are called in the table.
        run_dir: A new or empty directory, or that of the same comparison.
        seeds: How many trainings of each loss: with seeds ``data.seed``, ``data.seed + 1``, …
        epochs: Epochs of each training.
        build: Called as ``build(output_activation=...)``, returns the model, the same but for that; None for
            :func:`tfae.models.dense` with a latent of 16, or of half the elements of a sample below 32. It draws from
            Keras's global seed, which is set before.
        corruptions: Such as ``["salt_and_pepper=0.05", "outliers=0.02"]``: the names in ``CORRUPTIONS``, with the share
            of the elements or samples that they change. Training on the clean data always comes first.
        learning_rate: As in :func:`tfae.training.compile`.
        sample_reduction: Of the losses that are given by name.
        ignore: Names of checks of :func:`tfae.checks.check` to leave out.
        verbose: Whether to show the progress on stderr.

    Returns:
        The table, which :func:`load_comparison` reads back. What the latent holds of the labels is as :func:`probe`
        finds it; for who is marked as best see :func:`find_winner`.

    Raises:
        ValueError: If an argument does not fit; a loss is not defined on the data, corrupted or not; the models do not
            fit, or differ; the directory holds another comparison, or another process is at it; or as
            :func:`tfae.runs.train`.
        Interrupted: Instead of KeyboardInterrupt.

    Example:
        >>> import tempfile, numpy as np, tfae
        >>> data = tfae.datasets.load(np.random.RandomState(0).rand(100, 6))
        >>> build = functools.partial(models.dense, data.shape, latent_dim=2, widths=(8,))
        >>> with tempfile.TemporaryDirectory() as run_dir:
        ...     found = compare(data, ["mse", "mae"], run_dir=run_dir, seeds=1, epochs=1, build=build, verbose=False)
        >>> [(row.corruption, row.loss) for row in found.rows]
        [('clean', 'squared_error'), ('clean', 'absolute_error')]
    """
    for name, number in (("seeds", seeds), ("epochs", epochs)):
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name}: expected an integer of at least 1; received {number!r}.")
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate: expected a positive number; received {learning_rate!r}.")
    data = load_if_needed(data)
    all_seeds = [(data.seed + index) % 2**32 for index in range(seeds)]
    chosen = choose_corruptions(corruptions)
    by_name = choose_losses(losses, sample_reduction)
    # Of a table with columns of several kinds they are of its numbers, which have no domain.
    has_all = losses is not None or not data.preprocessing.is_mixed
    kept = {name: loss for name, loss in by_name.items() if has_all or loss.domain is None}
    by_name = {name: for_table(loss, data.preprocessing) for name, loss in kept.items()}
    if build is None:
        latent_dim = models.default_latent_dim(data.shape)
        build = functools.partial(models.dense, data.shape, latent_dim=latent_dim, input_layer=data.fill_gaps())
    built_for = build_models(build, by_name, all_seeds[0], data)
    # What corruptions reach depends on the seed by luck only, and each training checks its own.
    variants = (variant for _, variant in corrupt_each(data, chosen, all_seeds[0]))
    by_name = check_losses(by_name, built_for, variants, drop=losses is None, ignore=ignore)
    model = next(iter(built_for.values()))
    learning_rate = learning_rate or training.default_learning_rate(model)
    plan = {
        "created": provenance.now(),
        "data": fingerprint(data),
        "losses": {name: {"class_name": type(loss).__name__, **loss.get_config()} for name, loss in by_name.items()},
        "seeds": all_seeds,
        "corruptions": list(map(str, chosen)),
        "epochs": epochs,
        "learning_rate": learning_rate,
        "model": {**provenance.model(model, data.shape), "layers": digest_of_layers(model)},
        "versions": provenance.versions(),
    }
    del model, built_for
    training_options: dict[str, Any] = {
        "learning_rate": learning_rate,
        "epochs": epochs,
        "patience": epochs,  # It never runs out: all losses get as many steps.
        "verbose": 0,
        "ignore": ignore,
        "or_resume": True,
    }
    directory = Path(run_dir)
    validate_apart("run_dir", directory, *data.paths)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"run_dir: expected a directory to write to; received {directory} ({error}).") from error

    def say(message: str) -> None:
        if verbose:
            print(message, file=sys.stderr, flush=True)

    measured: dict[tuple[str, str], list[tuple[Path, dict[str, Any]]]] = {}
    with lock(directory), _without_retracing_warnings():
        plan = begin(directory, plan, data)
        numbers, total, title = itertools.count(1), (1 + len(chosen)) * seeds * len(by_name), "the beginning"
        try:
            for seed in all_seeds:
                for corruption, variant in corrupt_each(data, chosen, seed):
                    on = str(corruption or CLEAN)
                    for name, loss in by_name.items():
                        run_directory, title = directory / on / name / f"seed_{seed}", f"{name}, {on} data, seed {seed}"
                        say(f"{title}: training, {next(numbers)} of {total}")
                        found = _measure(run_directory, variant, data, loss, seed, build, training_options)
                        measured.setdefault((on, name), []).append((run_directory, found))
                        say(f"{title}: MSE {found['mse']:.4g}, MAE {found['mae']:.4g}")
        except KeyboardInterrupt as interruption:
            raise Interrupted(
                f"comparison: stopped in {title}, and saved. The same call or command again goes on in {directory}.",
                getattr(interruption, "signal_number", signal.SIGINT),
            ) from interruption
        order = [(on, name) for on in [CLEAN, *map(str, chosen)] for name in by_name]
        comparison = Comparison(directory, plan, tuple(_row(*key, measured[key]) for key in order))
        write_json(directory / FILE, comparison.as_dict())
    return comparison


def _measure(
    directory: Path, data: Data, clean: Data, loss: ReconstructionLoss, seed: int, build: Build, options: dict[str, Any]
) -> dict[str, Any]:
    """Train one run as far as it is not yet, and return what its evaluation and its probes say."""
    probes = directory / "probes.json"
    if not probes.exists():
        run = runs.train(build_seeded(build, loss, seed, data), data, loss=loss, run_dir=directory, **options)
        write_json(probes, probe(run.autoencoder, clean))
    return {**read_json(directory / "evaluation.json"), **read_json(probes)}


@contextlib.contextmanager
def _without_retracing_warnings() -> Iterator[None]:
    """Keep TensorFlow from warning of functions that are traced again: every model looks like the last to it."""

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _row(corruption: str, loss: str, found: list[tuple[Path, dict[str, Any]]]) -> Row:
    over_seeds: dict[str, SeedValues | None] = {}
    for metric in compared_metrics():
        values = tuple(value for _, of_run in found if (value := of_run.get(metric.name)) is not None)
        over_seeds[metric.name] = SeedValues(values) if len(values) == len(found) else None
    return Row(corruption, loss, tuple(directory for directory, _ in found), over_seeds)
