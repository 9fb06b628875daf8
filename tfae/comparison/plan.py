"""What a comparison is about to run, checked before the first training, and recognised when it goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfae.checks import NAMES, check
from tfae.checks.layers import layers_of
from tfae.comparison.corruption import Corruption, corrupt
from tfae.datasets import Data
from tfae.datasets.fingerprint import differences, remedy
from tfae.losses import ReconstructionLoss, get, registered
from tfae.models import structure
from tfae.runs.directory import read_json, write_json

#: Builds a model that ends with ``output_activation``.
Build = Callable[..., keras.Model]

FILE = "plan.json"
# What makes it another comparison, beside the data, by the argument that one would look at.
_IDENTITY = ("losses", "seeds", "corruptions", "epochs", "learning_rate", "model")


def choose_losses(
    losses: Sequence[str | ReconstructionLoss] | None, sample_reduction: str
) -> dict[str, ReconstructionLoss]:
    """Return the losses by name, each once; where none are named all that are registered, but for variants."""
    if isinstance(losses, (str, ReconstructionLoss)) or (losses is not None and not losses):
        raise ValueError(f'losses: expected a list such as ["mse", "mae"]; received {losses!r}.')
    by_name: dict[str, ReconstructionLoss] = {}
    for each in [loss.short_name for loss in registered() if loss.in_comparison] if losses is None else losses:
        loss = each if isinstance(each, ReconstructionLoss) else get(each, sample_reduction=sample_reduction)
        if loss.name in by_name:
            raise ValueError(
                f"losses: expected each loss once; received {loss.name!r} more than once. Give losses that differ in "
                "their arguments a name= each."
            )
        # It is the name of a folder.
        if not re.fullmatch(r"\w[\w.+=-]*", loss.name):
            raise ValueError(
                f"losses: expected names of letters, digits, and . _ + = -; received {loss.name!r}. Give it another "
                "name=."
            )
        by_name[loss.name] = loss
    return by_name


def choose_corruptions(corruptions: Sequence[str | Corruption]) -> list[Corruption]:
    """Return the corruptions, each once."""
    if isinstance(corruptions, (str, Corruption)):
        raise ValueError(f'corruptions: expected a list such as ["outliers=0.02"]; received {corruptions!r}.')
    chosen = [each if isinstance(each, Corruption) else Corruption.parse(str(each)) for each in corruptions]
    twice = [each for index, each in enumerate(chosen) if each in chosen[:index]]
    if twice:
        raise ValueError(f"corruptions: expected each once; received {twice[0]} more than once.")
    return chosen


def corrupt_each(data: Data, corruptions: Sequence[Corruption], seed: int) -> Iterator[tuple[Corruption | None, Data]]:
    """Yield the clean data, and each corruption of it as this seed draws it."""
    yield None, data
    for corruption in corruptions:
        yield corruption, corrupt(data, corruption, seed=seed)


def build_seeded(build: Build, loss: ReconstructionLoss, seed: int, data: Data) -> keras.Model:
    """Build the model for a loss: with the same initial weights for every loss, as they come from the seed alone."""
    keras.utils.set_random_seed(seed)
    return build(output_activation=loss.output_activation(data.output_range))


def build_models(build: Build, losses: dict[str, ReconstructionLoss], seed: int, data: Data) -> dict[str, keras.Model]:
    """Build the model of every loss, and check that they differ in the output's activation alone."""
    built_for = {}
    for name, loss in losses.items():
        model = built_for[name] = build_seeded(build, loss, seed, data)
        if not isinstance(model, keras.Model):
            raise ValueError(
                f"build: expected a function that returns a model for samples of shape {data.shape}, called as "
                f"build(output_activation=...); received {type(model).__name__}."
            )
        structure.build(model, data.shape)
    first, *others = (model.get_weights() for model in built_for.values())
    for weights in others:
        if len(first) != len(weights) or not all(map(np.array_equal, first, weights)):
            raise ValueError(
                "build: expected the same layers and initial weights under every loss; received others. Only "
                "output_activation may depend on the loss, and the weights on Keras's global seed."
            )
    return built_for


def check_losses(
    losses: dict[str, ReconstructionLoss],
    built_for: dict[str, keras.Model],
    variants: Iterable[Data],
    *,
    drop: bool,
    ignore: Collection[str],
) -> dict[str, ReconstructionLoss]:
    """Check each loss with its model on every variant of the data; with ``drop``, leave out the undefined."""
    kept = dict(losses)
    for data in variants:
        for name, loss in losses.items():
            if drop and not _is_defined(loss, data, built_for[name]):
                kept.pop(name, None)
            elif name in kept:
                try:
                    check(data, loss, built_for[name], ignore=ignore)
                except ValueError as error:
                    raise ValueError(f"{error} That is {name} on {data.name}.") from error
    return kept


def begin(directory: Path, plan: dict[str, Any], data: Data) -> dict[str, Any]:
    """Write the plan to the directory, or return the one that is there if it is the same comparison."""
    path = directory / FILE
    if path.exists():
        try:
            before = read_json(path)
            of_data = differences(before["data"], data)
            named = {**plan, "model": {**plan["model"], "name": before["model"]["name"]}}  # Keras counts names up.
            now = json.loads(json.dumps(named))
            differing = [
                f"{name} (it has {before[name]}, and received {now[name]})"
                for name in _IDENTITY
                if before[name] != now[name]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"run_dir: expected the plan of a comparison in {path}; received {error!r}.") from error
        if of_data or differing:
            others = [f"data's {each}" for each in of_data] + differing
            raise ValueError(
                f"run_dir: expected a new directory, or one that holds this comparison; {directory} holds one with "
                f"other {' and '.join(others)}. Choose another, or pass the arguments that it began with."
                f"{f' {remedy(of_data)}' if of_data else ''}"
            )
        return before
    others = [each.name for each in directory.iterdir() if not each.name.startswith((".lock", ".staging-"))]
    if others:
        raise ValueError(
            f"run_dir: expected a new directory, or one that holds a comparison; received {directory}, which holds "
            f"{others[0]}. Choose another."
        )
    write_json(path, plan)
    return plan


def _is_defined(loss: ReconstructionLoss, data: Data, model: keras.Model) -> bool:
    try:
        check(data, loss, model, ignore=set(NAMES) - {"domain"})
    except ValueError:
        return False
    return True


def digest_of_layers(model: keras.Model) -> str:
    """Of kind and arguments of every layer, but for names, which Keras counts up with every model."""
    digest = hashlib.blake2b(digest_size=16)
    for layer in layers_of(model):
        config = {name: value for name, value in layer.get_config().items() if name != "name"}
        digest.update(json.dumps([type(layer).__name__, config], sort_keys=True, default=str).encode())
    return digest.hexdigest()
