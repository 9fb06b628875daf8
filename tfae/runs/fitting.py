"""The course of a training: ``fit`` from a checkpoint to the end, and what is made of its result."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfae import progress, report
from tfae.atomic_write import write_atomically
from tfae.datasets import Data
from tfae.detection import calibrate, tell_truth
from tfae.evaluation import Evaluation, evaluate, has_own_score
from tfae.evaluation import scores as find_scores
from tfae.evaluation.bound_metrics import NUM_DRAWS
from tfae.losses import get_loss
from tfae.losses.domain import checked_domain
from tfae.runs.directory import MODEL, how_to_resume, load_model, write_json
from tfae.runs.run import CALIBRATION, Run
from tfae.schedule import schedule_of
from tfae.training import CheckpointCallback, EarlyDecay, Interrupted
from tfae.training.checkpoint import Checkpoint, write_history
from tfae.training.execution import MORE_STABLE, Execution, NonFiniteLossError
from tfae.training.strategies import is_chief, strategy_of, together


class Course(NamedTuple):
    """What is trained on what, how and where."""

    autoencoder: keras.Model
    data: Data
    directory: Path
    config: dict[str, Any]

    def how_to_resume(self, *, finish: bool = False) -> str:
        """Return what a user types to go on with it, or to finish it with the best epoch so far."""
        return how_to_resume(self.directory, self.config, finish=finish)


def go_on(
    course: Course,
    start: Checkpoint,
    *,
    finish: bool = False,
    verbose: str | int,
    on_evaluation: Callable[[Evaluation], object] | None,
) -> Run:
    """Train to the end, unless it is to ``finish``, and finish the run; only in the chief of several workers."""
    strategy = strategy_of(course.autoencoder)
    try:
        if not (finish or start.is_last):
            start = _fit(course, start, verbose)
        with together(strategy):  # Others wait: if the chief is lost now, all have to begin again.
            if is_chief(strategy):
                if strategy is not None:  # What comes now is of one process.
                    course = course._replace(autoencoder=load_model(course.directory))
                return _finish(course, start, on_evaluation)
    except Interrupted:
        raise
    except KeyboardInterrupt as interruption:
        # Ctrl-C does not wait for a checkpoint the second time, and after the last epoch.
        how = course.how_to_resume()
        raise Interrupted(
            f"training: stopped at once. The last checkpoint is saved; go on with {how}.", signal.SIGINT
        ) from interruption
    raise SystemExit(0)


def _fit(course: Course, start: Checkpoint, verbose: str | int) -> Checkpoint:
    """Train from ``start`` to the end, and return the last checkpoint."""
    autoencoder, data, directory, config = course
    early_decay = EarlyDecay(config["patience"])
    how = f"{course.how_to_resume()}, or keep the best epoch so far with {course.how_to_resume(finish=True)}"
    checkpoints = CheckpointCallback(directory, early_decay, start=start, how_to_resume=how)
    execution = Execution(autoencoder, **config["execution"])
    has_logs = config["tensorboard"] and execution.is_chief
    logs = _tensorboard_callbacks(directory / "tensorboard", data) if has_logs else []
    steps_before = autoencoder.steps_per_execution
    execution.install()
    try:
        with checkpoints.delay_signals(), _plain_errors_of(data), checked_domain(), execution.fitting():
            autoencoder.fit(
                data.train_from(start.epoch),
                validation_data=data.validation,
                initial_epoch=start.epoch,
                epochs=config["epochs"],
                callbacks=[early_decay, *logs, checkpoints],
                verbose=verbose if execution.is_chief else 0,
                shuffle=False,  # data.train brings its own order.
            )
    except BaseException as error:
        for callback in logs:  # They hold open files, which fit did not come to close.
            callback.on_train_end()
        if isinstance(error, NonFiniteLossError):
            raise _locate(error, checkpoints, course) from error
        raise
    finally:
        autoencoder.train_function = autoencoder.test_function = autoencoder.predict_function = None
        autoencoder.steps_per_execution = steps_before
    checkpoints.raise_interrupted("after its last epoch")  # By a signal at the very end.
    last = checkpoints.last
    if last.epoch < config["epochs"]:
        decay = "" if schedule_of(autoencoder) is None else ", and the learning rate has decayed"
        progress.log.info(
            "stopped after epoch %d: no better validation loss in %d%s", last.epoch, config["patience"], decay
        )
    return last


def _finish(course: Course, last: Checkpoint, on_evaluation: Callable[[Evaluation], object] | None) -> Run:
    """Keep the best epoch, evaluate and draw it, and declare the run finished; without room the checkpoints stay."""
    autoencoder, data, directory, config = course
    losses: list[np.ndarray] = []
    calibration = truth = None
    try:
        autoencoder.set_weights(last.best_weights)
        get_loss(autoencoder).adapt(autoencoder, data.train_from(0))
        if hasattr(autoencoder, "adapt_score"):
            autoencoder.adapt_score(data.train_from(0), data.validation)
        write_history(directory / "history.csv", last.history)
        write_atomically(directory / MODEL, autoencoder.save)
        with _plain_errors_of(data):
            evaluation = evaluate(
                autoencoder,
                data.normal_test(),
                train=data.train_from(0),
                data_range=data.preprocessing.value_range,
                num_draws=NUM_DRAWS,
                history=last.history,
                ignore=config["ignore"],
                on_losses=losses.append,
            )
            scores = np.concatenate(losses)
            if has_own_score(autoencoder) or data.is_anomaly is not None:
                scores = find_scores(autoencoder, data.test)
            if config.get("false_alarm_rate") is not None:
                rate, by = config["false_alarm_rate"], config["by"]
                calibration = calibrate(autoencoder, data, false_alarm_rate=rate, by=by)
                write_json(directory / CALIBRATION, calibration.as_dict())
            if data.is_anomaly is not None:
                truth = tell_truth(scores, data, calibration)
                write_json(directory / "truth.json", truth.as_dict())
            if on_evaluation is not None:
                on_evaluation(evaluation)
            folder = directory / "pictures"
            pictures = report.draw_pictures(autoencoder, data, scores, last.history, folder, calibration)
        report.write_run_page(
            directory / "report.html",
            data,
            config,
            last.history,
            evaluation,
            pictures,
            calibration=calibration,
            truth=truth,
        )
        write_json(directory / "evaluation.json", evaluation.as_dict())
        shutil.rmtree(directory / "checkpoints")
    except OSError as error:
        raise ValueError(
            f"run_dir: expected to write the finished run to {directory}; received {error}. Nothing of the training is "
            f"lost: make room, and go on with {course.how_to_resume()}."
        ) from error
    return Run(directory, autoencoder, data.preprocessing, config, evaluation, calibration, truth)


def _tensorboard_callbacks(directory: Path, data: Data) -> list[keras.callbacks.Callback]:
    """Keras's own logs and, of images, the first reconstructions of every epoch beside their originals."""
    logs = keras.callbacks.TensorBoard(directory, write_graph=False)
    if data.kind != "image" or data.shape[-1] not in (1, 3, 4):
        return [logs]
    x, *_ = next(iter(data.validation.unbatch().batch(report.NUM_PICTURED)))

    def write_reconstructions(epoch: int, _: Any = None) -> None:
        model = logs.model
        rows = tf.concat([x, model.loss.reconstruction(model(x, training=False))], axis=1)
        low, high = data.preprocessing.value_range or (float(tf.reduce_min(x)), float(tf.reduce_max(x)))
        pictures = tf.clip_by_value((rows - low) / (high - low), 0, 1)
        with tf.summary.create_file_writer(str(directory / "images")).as_default():
            tf.summary.image("original above reconstruction", pictures, step=epoch, max_outputs=report.NUM_PICTURED)

    return [logs, keras.callbacks.LambdaCallback(on_epoch_end=write_reconstructions)]


@contextlib.contextmanager
def _plain_errors_of(data: Data) -> Iterator[None]:
    """Raise what went wrong in reading data, not TensorFlow's account of it."""
    try:
        yield
    except tf.errors.OpError as error:
        if data.defect is None:
            raise
        raise data.defect from error


def _locate(error: NonFiniteLossError, checkpoints: CheckpointCallback, course: Course) -> ValueError:
    last = checkpoints.last
    batch = checkpoints.step + error.index
    samples = course.data.training_batch(checkpoints.epoch, batch)
    remedy = f"; {course.how_to_resume(finish=True)} keeps the best epoch" if last.best_weights else ""
    return ValueError(
        f"training: expected a finite loss; received NaN or infinity in epoch {checkpoints.epoch + 1}, batch "
        f"{batch + 1}, of the training samples {', '.join(map(str, samples[:8]))}{', …' if len(samples) > 8 else ''}. "
        f"{MORE_STABLE} in these samples. The last good weights, of epoch {last.epoch + 1} after {last.step} "
        f"batches, are in {course.directory / 'checkpoints'}{remedy}."
    )
