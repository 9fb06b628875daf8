"""A training run in a run directory: all that is needed to look at it, resume it, repeat it and export it.

::

    runs/<name>/
        config.json         what was trained on what, how, and with which versions
        preprocessing.json  from data space to model space
        history.csv         the losses of every epoch
        checkpoints/*.npz   the two newest states to go on from, until the run is finished
        model.keras         the model, compiled with the loss; of a finished run with the weights of the best epoch
        pictures/*.png      reconstructions, training curves, embedding, scores
        report.html         all of it on one page
        calibration.json    what makes scores alarms, if there is a false-alarm rate
        truth.json          what labels say of the scores, if training was on normal samples alone
        evaluation.json     the measures on the test split; comes last, and makes the run a finished one
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import keras

from tfae import provenance, training
from tfae.atomic_write import validate_apart
from tfae.checks import check
from tfae.datasets import Data, load_if_needed
from tfae.datasets.fingerprint import differences, fingerprint, format_differences, remedy
from tfae.detection import find_categories, validate_rate
from tfae.evaluation import Evaluation
from tfae.losses import ReconstructionLoss, get_loss
from tfae.models import structure
from tfae.runs.directory import (
    ONEDNN,
    check_room,
    clear_remains,
    explain_unreadable,
    load_model,
    lock,
    read_json,
    state_of,
    validate_repeated,
    warn_of_changes,
    write_json,
    write_model,
)
from tfae.runs.fitting import Course, go_on
from tfae.runs.run import Run, load_data, load_run
from tfae.schedule import cover
from tfae.training import Interrupted
from tfae.training.checkpoint import Checkpoint, assign, newest, values_of
from tfae.training.execution import choose_execution, prepare
from tfae.training.strategies import (
    ask_chief,
    explain_lost_worker,
    is_chief,
    num_replicas_of,
    strategy_of,
    together,
    validate_agreement,
)

__all__ = ["Interrupted", "Run", "load_run", "resume", "train"]


def train(
    autoencoder: keras.Model,
    data: Any,
    *,
    run_dir: str | os.PathLike[str],
    loss: ReconstructionLoss | None = None,
    learning_rate: float | None = None,
    epochs: int = 30,
    patience: int = 5,
    tensorboard: bool = False,
    verbose: str | int = "auto",
    notes: dict[str, Any] | None = None,
    ignore: Collection[str] = (),
    false_alarm_rate: float | None = None,
    by: str | None = None,
    or_resume: bool = False,
    on_evaluation: Callable[[Evaluation], object] | None = None,
) -> Run:
    """Train, evaluate, and leave everything in a run directory.

    The training is Keras's ``fit`` with :class:`tfae.training.EarlyDecay` and the checkpoints of
    :class:`tfae.training.CheckpointCallback`, from which :func:`resume` goes on when it was killed. Ctrl-C saves when
    the steps under way are done.

    A model that was made in the scope of a strategy of :func:`tfae.training.make_strategy` trains on all its replicas.
    Of several workers the chief writes, evaluates and returns; on the others this ends the process, with exit code 0.

    Args:
        autoencoder: Any Keras model that returns something of the shape of a sample. The latent is what its sub-model
            ``encoder`` emits, a layer of that name or an attribute.
        data: What to train on, as :func:`tfae.datasets.load` returns it; or what that takes, such as an array, which is
            loaded with its defaults. Training and validation split steer the training, the test split is only
            evaluated.
        run_dir: A new or empty directory; of several workers, one that all can read.
        loss: What to minimise, with the optimizer of :func:`tfae.training.compile`. None for a model that is compiled
            with a loss of :mod:`tfae.losses` already, whose optimizer is kept.
        learning_rate: As in :func:`tfae.training.compile`, if ``loss`` is given.
        epochs: Epochs at most.
        patience: Epochs without a better validation loss after which the learning rate starts to decay, and the
            training ends with the decay. With an optimizer of your own the training stops then.
        tensorboard: Whether to write TensorBoard logs with reconstructions of every epoch, to ``run_dir/tensorboard``;
            needs the extra ``tfae[tensorboard]``.
        verbose: As in ``fit``.
        notes: More for ``config.json``, JSON-able.
        ignore: Names of checks of :func:`tfae.checks.check` to leave out.
        false_alarm_rate: Share of normal samples that is to raise an alarm: the run is calibrated as by
            :func:`tfae.detection.calibrate`, and its exports have the signature ``detect``. None for no alarms.
        by: Column of categories that have calibrations of their own, as there.
        or_resume: Whether to go on where ``run_dir`` holds a training of this model that was stopped, as
            :func:`resume` does, and to return the run where it is finished.
        on_evaluation: Called with the evaluation as soon as it is there, before pictures are drawn.

    Returns:
        The run, with its evaluation on the test split.

    Raises:
        ValueError: If the directory is in use or in that of the data, can not be written to or has no room; data, loss
            and model do not fit together; or the loss stops being finite.
        Interrupted: Instead of KeyboardInterrupt, when the training was saved.
        LostWorkerError: If another worker is gone.
    """
    data = _load(data, verbose)
    validate_apart("run_dir", run_dir, *data.paths)
    directory, strategy = Path(run_dir), strategy_of(autoencoder)
    states = ("unused", "stopped", "finished", "in use")
    state = states[ask_chief(strategy, states.index(state_of(directory)))] if or_resume else "unused"
    if state == "stopped":
        validate_repeated(directory, autoencoder, data, loss, epochs=epochs, patience=patience)
        return resume(directory, data=data, strategy=strategy, verbose=verbose, on_evaluation=on_evaluation)
    if state == "finished":
        if not is_chief(strategy):
            raise SystemExit(0)
        return load_run(directory)
    if loss is not None:
        training.compile(autoencoder, loss, data, epochs=epochs, learning_rate=learning_rate, ignore=ignore)
    else:
        structure.build(autoencoder, data.shape)
        check(data, get_loss(autoencoder), autoencoder, ignore=ignore)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError('tensorboard: expected the extra to be installed. Run pip install "tfae[tensorboard]".')
    if false_alarm_rate is not None:  # Rather now than after the training.
        validate_rate(false_alarm_rate, len(data.raw.validation))
        find_categories(data, by)
    if loss is None:  # As compile does.
        prepare(autoencoder, data)
    cover(autoencoder, epochs * int(data.train.cardinality()))
    optimizer = keras.optimizers.serialize(autoencoder.optimizer)
    config = {
        "created": provenance.now(),
        "data": fingerprint(data),
        "model": provenance.model(autoencoder, data.shape),
        "loss": provenance.loss(autoencoder),
        "optimizer": {"class_name": optimizer["class_name"], **optimizer["config"]},
        "versions": provenance.versions(),
        "epochs": epochs,
        "patience": patience,
        "execution": choose_execution(autoencoder, data, epochs=epochs),
        "num_replicas": num_replicas_of(strategy),
        "onednn": os.environ.get(ONEDNN),
        "tensorboard": tensorboard,
        "notes": notes or {},
        "ignore": [ignore] if isinstance(ignore, str) else sorted(ignore),
        "false_alarm_rate": false_alarm_rate,
        "by": by,
    }
    course = Course(autoencoder, data, directory, config)
    start = Checkpoint(variables=values_of(autoencoder, in_epoch=False))
    with explain_lost_worker(strategy, directory), contextlib.ExitStack() as held:
        validate_agreement(strategy, {name: config[name] for name in ("data", "model", "loss", "optimizer", "epochs")})
        with together(strategy):
            if is_chief(strategy):
                held.enter_context(lock(directory, is_new=True))
                _begin(course, start)
        return go_on(course, start, verbose=verbose, on_evaluation=on_evaluation)


def _begin(course: Course, start: Checkpoint) -> None:
    """Write all that the run can be gone on with from here."""
    autoencoder, data, directory, config = course
    clear_remains(directory)
    check_room(directory, autoencoder)
    try:
        start.write(directory / "checkpoints")
        write_json(directory / "preprocessing.json", data.preprocessing.get_config())
        write_json(directory / "config.json", config)
        x, *_ = next(iter(data.validation))
        write_model(autoencoder, directory, x[:8])  # Last: from here on there is a run to go on with.
    except OSError as error:
        raise ValueError(
            f"run_dir: expected to write a run to {directory}; received {error}. Make room, and run the same again."
        ) from error


def _load(data: Any, verbose: str | int) -> Data:
    """Load what is not loaded yet, and say how it is split."""
    loaded = load_if_needed(data)
    if verbose and loaded is not data:
        print(loaded.summary())
    return loaded


def resume(
    run_dir: str | os.PathLike[str],
    *,
    data: Any = None,
    strategy: Any = None,
    finish: bool = False,
    verbose: str | int = "auto",
    on_evaluation: Callable[[Evaluation], object] | None = None,
) -> Run:
    """Go on with a run that was killed or interrupted, from its newest checkpoint.

    Args:
        run_dir: What :func:`train` was given.
        data: The data as of :func:`train`, where it came from memory; else it is loaded again, to where it was then:
            memory or disk. Only data with the same samples, scaling, labels, batches and order is gone on with.
        strategy: What :func:`tfae.training.make_strategy` made, to train on its replicas, as :func:`train` does.
        finish: Whether to train no more, but to finish the run with the best epoch so far.
        verbose: As in ``fit``.
        on_evaluation: As in :func:`train`.

    Returns:
        As :func:`train`.

    Warns:
        UserWarning: If ``TF_ENABLE_ONEDNN_OPTS``, the number of replicas, or a version of tfae, TensorFlow or Keras, is
            not what it was.

    Raises:
        ValueError: If there is no such run, it is finished, another process is at it, or the data has changed.
        Interrupted: As in :func:`train`.
    """
    directory = Path(run_dir)
    if (directory / "evaluation.json").exists():
        raise ValueError(
            f"run_dir: expected a run that is not finished; {directory} is. Export it with tfae export "
            f"{shlex.quote(str(directory))}."
        )
    held = lock(directory) if is_chief(strategy) else contextlib.nullcontext()
    with explain_lost_worker(strategy, directory), held:
        try:
            config = read_json(directory / "config.json")
            with contextlib.nullcontext() if strategy is None else strategy.scope():
                autoencoder = load_model(directory)
        except (OSError, ValueError, KeyError, TypeError) as error:  # The latter two are of other versions of Keras.
            raise ValueError(
                f"run_dir: expected the directory of a training that was stopped; received {directory} "
                f"({explain_unreadable(error)})."
            ) from error
        start = newest(directory / "checkpoints")
        if data is None:
            data = load_data(directory, config)
        elif found := differences(config["data"], data := _load(data, verbose)):
            raise ValueError(
                f"data: expected what {directory} is trained on, in the same batches and order; received other "
                f"{format_differences(found)}. {remedy(found)}"
            )
        warn_of_changes(directory, config, num_replicas_of(strategy))
        prepare(autoencoder, data)
        assign(autoencoder, start.variables)
        if (strategy is None) != (config["execution"]["program"] != "replicas"):
            config["execution"] = choose_execution(autoencoder, data, epochs=config["epochs"])
        if finish and not start.best_weights:
            raise ValueError(
                f"run_dir: expected a run with a complete epoch to finish with; {directory} has none. Go on without it."
            )
        validate_agreement(strategy, [config, start.epoch, start.step])
        if is_chief(strategy):
            clear_remains(directory)
        course = Course(autoencoder, data, directory, config)
        return go_on(course, start, finish=finish, verbose=verbose, on_evaluation=on_evaluation)
