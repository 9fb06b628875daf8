"""``tfae train``."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfae.atomic_write import validate_apart
from tfae.cli.calibrate import calibration_options
from tfae.cli.command import Command
from tfae.cli.model_options import ModelOptions, model_options
from tfae.cli.options import default_export_dir, export_dir_option, ignore_option, is_given, load_options, loss_option
from tfae.cli.tensorflow import import_tensorflow, onednn_of
from tfae.cli.terminal import fit_terminal
from tfae.cli.wording import in_options

if TYPE_CHECKING:
    from tfae.advice import Advice
    from tfae.datasets import Data
    from tfae.evaluation import Evaluation
    from tfae.runs import Run


#: Of sysexits.h: EX_TEMPFAIL, to be tried again.
_LOST_WORKER = 75


@click.command(cls=Command)
@click.argument("source", required=False)
@loss_option(
    "loss_name",
    help="mse, squared error; mae, absolute error, and huber, between the two, for data with outliers; bce, binary "
    "cross-entropy, for data in [0, 1]; likelihoods: gaussian, cb (continuous Bernoulli, for gray values), cce "
    "(categorical cross-entropy, for one-hot data), poisson (for counts); or one of your own, with tfae --import "
    "MODULE.  [default: as tfae advise says]",
)
@model_options
@click.option(
    "--patience",
    type=click.IntRange(0),
    help="Epochs without a better validation loss after which the learning rate decays, and the training ends.  "
    "[default: 5; denoiser: none]",
)
@click.option(
    "--detect", is_flag=True, help="Find anomalies: calibrate on the validation split, and export the signature detect."
)
@calibration_options
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="New directory for the run.  [default: runs/NAME-TIME]"
)
@export_dir_option
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="RUN_DIR",
    help="Go on with a training that was stopped, or killed; instead of SOURCE.",
)
@click.option(
    "--or-resume",
    is_flag=True,
    help="Go on with the run of --run-dir if it was stopped, and do nothing if it is finished: for schedulers, which "
    "repeat a command.",
)
@click.option(
    "--strategy",
    type=click.Choice(["mirrored", "multi-worker"]),
    help="Train on all GPUs of this machine, or with the workers that TF_CONFIG tells, each of which runs the same "
    "command.  [default: on one device]",
)
@click.option("--finish", is_flag=True, help="With --resume: train no more, and keep the best epoch so far.")
@ignore_option
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard logs, with reconstructions.")
@load_options
@click.pass_context
def train(
    ctx: click.Context,
    source: str | None,
    *,
    resume: Path | None,
    finish: bool,
    strategy: str | None,
    export_dir: Path | None,
    **options: Any,
) -> None:
    """Train on SOURCE, evaluate, draw pictures, export, and score with what was exported.

    Ctrl-C stops it when the steps under way are done, and saves; with --resume RUN_DIR it goes on. The exit code is 75
    if a worker of --strategy multi-worker is gone: start all again.
    """
    if resume is None:
        if source is None:
            raise click.UsageError("expected a SOURCE to train on, or --resume RUN_DIR to go on with a training.")
        if finish:
            raise click.UsageError("expected --finish together with --resume RUN_DIR.")
        if (options["or_resume"] or strategy == "multi-worker") and options["run_dir"] is None:
            raise click.UsageError("expected --run-dir with --or-resume, and with --strategy multi-worker.")
    else:
        for parameter in ctx.command.params:
            if is_given(ctx, parameter) and parameter.name not in ("resume", "finish", "export_dir", "strategy"):
                name = parameter.get_error_hint(ctx)
                raise click.UsageError(f"expected --resume without {name}: the training goes on as it began.")
    import_tensorflow(onednn="1" if resume is None else onednn_of(resume))
    from tfae import runs, training
    from tfae.runs.directory import state_of
    from tfae.training import strategies

    if options["or_resume"] and state_of(options["run_dir"]) == "finished":  # Other workers may have left for good.
        if strategy != "multi-worker" or strategies.leads():
            _export_if_missing(runs.load_run(options["run_dir"]), export_dir)
        return
    # Before anything is computed, or TensorFlow could not set up what workers talk by.
    made = None if strategy is None else training.make_strategy(strategy)
    # A bar redraws its line, which would fill a log file; there it is one line per epoch.
    verbose = 1 if sys.stdout.isatty() else 2
    try:
        if resume is not None:
            run = runs.resume(resume, strategy=made, finish=finish, verbose=verbose, on_evaluation=_show)
            data = run.load_data()
            _export(run, data, export_dir or _noted_export_dir(run))
        else:
            _train(source, strategy=made, export_dir=export_dir, verbose=verbose, **options)
    except training.LostWorkerError as error:
        click.echo(f"Error: {in_options(error, ctx)}", err=True)
        ctx.exit(_LOST_WORKER)
    except runs.Interrupted as interruption:
        click.echo(f"\n{interruption}", err=True)
        ctx.exit(128 + interruption.signal_number)


def _train(
    source: str | None,
    *,
    strategy: Any,
    loss_name: str | None,
    model: ModelOptions,
    patience: int | None,
    detect: bool,
    false_alarm_rate: float,
    by: str | None,
    run_dir: Path | None,
    or_resume: bool,
    export_dir: Path | None,
    ignore: tuple[str, ...],
    tensorboard: bool,
    verbose: int,
    **load: Any,
) -> None:
    import keras

    from tfae import datasets, losses, provenance, runs
    from tfae import export as exporting
    from tfae.advice import advise
    from tfae.models import structure

    # Mistakes show before the data is read.
    model.validate()
    if loss_name is not None:
        losses.get(loss_name)
    data = datasets.load(source, **load)
    advised = None
    if loss_name is None:
        advised = advise(data)
        # A denoiser scales for itself, and begins at the mean, which is far from the logarithm of a rate.
        scales = advised.loss == "poisson" and model.for_data(data, detects=detect).architecture == "denoiser"
        if advised.loss != advised.loaded_loss and load["preprocessing"] == "default" and not scales:
            del data  # Lest there is memory for both.
            load["preprocessing"] = advised.preprocessing
            data = datasets.load(source, **load)
            advised = advise(data)
        loss_name = advised.loaded_loss
    click.echo(data.summary())
    if advised is not None:
        click.echo(_advice(advised))
    loss = losses.get(loss_name, sample_reduction=model.sample_reduction)
    loss = losses.for_table(loss, data.preprocessing)
    keras.utils.set_random_seed(load["seed"])
    export_dir = export_dir or default_export_dir(data.name)
    validate_apart("export_dir", export_dir, *data.paths)
    exporting.validate_writable(export_dir)
    model = model.for_data(data, detects=detect)
    build, epochs = model.builder(data), model.epochs or 30
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        autoencoder = build(output_activation=loss.output_activation(data.output_range))
    structure.build(autoencoder, data.shape)
    click.echo(
        f"{provenance.format_model(provenance.model(autoencoder, data.shape))}; "
        f"{type(loss).__name__}, {model.sample_reduction} over elements"
    )
    run = runs.train(
        autoencoder,
        data,
        loss=loss,
        learning_rate=model.learning_rate,
        run_dir=run_dir or _unused_run_dir(data),
        or_resume=or_resume,
        epochs=epochs,
        patience=patience if patience is not None else epochs if model.architecture == "denoiser" else 5,
        false_alarm_rate=false_alarm_rate if detect else None,
        by=by,
        tensorboard=tensorboard,
        ignore=ignore,
        verbose=verbose,
        on_evaluation=_show,
        notes={"export_dir": str(export_dir.resolve()), "advice": None if advised is None else advised.as_dict()},
    )
    _export(run, data, export_dir)


def _show(evaluation: Evaluation) -> None:
    click.echo(fit_terminal(f"\n{evaluation}\n"))


def _export(run: Run, data: Data, export_dir: Path) -> None:
    """Export a run, score with what was exported, and say where everything is."""
    import numpy as np

    from tfae import export as exporting
    from tfae.moments import blocks
    from tfae.runs import Interrupted

    try:
        path = run.export(export_dir, data=data)
    except KeyboardInterrupt as interruption:
        folders = f"{shlex.quote(str(run.directory))} --export-dir {shlex.quote(str(export_dir))}"
        raise Interrupted(
            f"export: stopped; the run is finished. Export it with tfae export {folders}.", signal.SIGINT
        ) from interruption
    exported = exporting.load(path)
    scores = np.concatenate([exported.score(block) for block in blocks(data.raw.test)])
    click.echo(f"report    {run.directory / 'report.html'}")
    click.echo(f"pictures  {run.directory / 'pictures'}")
    click.echo(f"exported  {path}")
    if run.truth is not None:
        click.echo(f"\n{run.truth}\n")
    if run.calibration is not None:
        click.echo(f"alarms    {run.calibration}")
    click.echo(f"scored    {len(scores):,} test samples with it: mean {np.mean(scores, dtype='float64'):.7g}")


def _noted_export_dir(run: Run) -> Path:
    """Return where a run is to be exported to; one that began in Python has not noted it."""
    return Path(run.config["notes"].get("export_dir") or default_export_dir(run.config["data"]["name"]))


def _export_if_missing(run: Run, export_dir: Path | None) -> None:
    """Export a finished run, unless its newest export is of it."""
    from tfae import export as exporting

    export_dir = export_dir or _noted_export_dir(run)
    with contextlib.suppress(ValueError):
        exported = exporting.load(export_dir)
        if exported.description["metrics"] == run.evaluation.as_dict():
            click.echo(f"finished  {run.directory}\nexported  {exported.path}")
            return
    _export(run, run.load_data(), export_dir)


def _unused_run_dir(data: Data) -> Path:
    """Return a directory named after data and time, with a number behind it if it exists."""
    name = f"{data.name.replace('/', '-')}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    candidates = (Path("runs", f"{name}-{number}" if number > 1 else name) for number in itertools.count(1))
    return next(candidate for candidate in candidates if not candidate.exists())


def _advice(advised: Advice) -> str:
    """Return a line on the loss that was chosen for the user, and on how to choose another."""
    from tfae import losses

    line = f"loss: {losses.get(advised.loaded_loss).title}"
    loaded = advised.loaded_preprocessing
    if advised.loaded_loss != advised.loss:
        return (
            f"{line}, as preprocessing {loaded} allows; {losses.get(advised.loss).title} is advised because "
            f"{advised.reasons[0]}, and needs --preprocessing {advised.preprocessing}"
        )
    others = [
        other.loss
        for other in advised.alternatives
        if losses.get(other.loss).domain is None or other.preprocessing == loaded
    ]
    line += f", advised because {advised.reasons[0]}; --loss {'|'.join(others)} chooses another"
    if advised.preprocessing != loaded:
        line += f"\npreprocessing: {loaded}, and {advised.preprocessing} is advised because {advised.reasons[1]}"
    return line
