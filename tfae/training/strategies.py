"""Distribution strategies: which there are, what can be trained in them, and what their workers agree on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from tfae.checks.layers import layers_of
from tfae.datasets import Data

#: By the name of the command line.
STRATEGIES = ("mirrored", "multi-worker")
#: The first whose optimizers update the weights alike on all replicas.
LEAST_KERAS = (3, 10)
#: What TensorFlow raises where a worker is gone, or was never there.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)
_CLUSTER = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


@final
class LostWorkerError(RuntimeError):
    """Another worker of the training is gone; the training goes on once all are started again."""


@functools.cache  # The replicas of a second one of the same devices would take those of the first for theirs.
def make_strategy(name: str) -> tf.distribute.Strategy:
    """Make a strategy, in whose scope a model is to be built; before anything else is computed, and once a process.

    Args:
        name: "mirrored" for all GPUs of this machine, or else its CPU; "multi-worker" for the workers that the
            environment variable ``TF_CONFIG`` tells, each of which runs the same script.

    Raises:
        ValueError: If there is no such strategy, or ``TF_CONFIG`` tells no cluster of workers.

    Example:
        >>> make_strategy("mirrored").num_replicas_in_sync >= 1
        True
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy: expected {' or '.join(map(repr, STRATEGIES))}; received {name!r}.")
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    _validate_cluster(os.environ.get("TF_CONFIG", ""))
    return tf.distribute.MultiWorkerMirroredStrategy()


def _validate_cluster(text: str) -> None:
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        is_known = set(cluster) <= {"chief", "worker"} and cluster[task["type"]][int(task["index"])]
    except (ValueError, KeyError, TypeError, IndexError):
        is_known = False
    if not is_known:
        raise ValueError(
            "strategy: expected the environment variable TF_CONFIG to tell the workers of a cluster and which of them "
            f"this one is, such as {_CLUSTER}; received {text!r}. Set it, to another index on each worker."
        )


def strategy_of(autoencoder: keras.Model) -> tf.distribute.Strategy | None:
    """Return the distribution strategy in whose scope a model was made; None without one."""
    with autoencoder.distribute_strategy.scope():
        return tf.distribute.get_strategy() if tf.distribute.has_strategy() else None


def num_replicas_of(strategy: tf.distribute.Strategy | None) -> int:
    """Return on how many replicas a strategy trains; 1 without one."""
    return 1 if strategy is None else strategy.num_replicas_in_sync


def call_on_replicas(strategy: tf.distribute.Strategy | None, call: Callable[[], Any]) -> None:
    """Call a function on each replica, or as it is."""
    if strategy is None:
        call()
    else:  # In a graph: TensorFlow warns of all else.
        tf.function(lambda: strategy.run(call), autograph=False).get_concrete_function()()


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Return whether this worker is the one that writes: the chief or, where there is none, the first."""
    resolver = None if strategy is None else strategy.cluster_resolver
    return resolver is None or leads(resolver)


def leads(resolver: tf.distribute.cluster_resolver.ClusterResolver | None = None) -> bool:
    """Return whether this worker is the chief of a cluster, by default that of ``TF_CONFIG``, or else its first."""
    resolver = resolver or tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if not resolver.task_type:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def validate_replicable(autoencoder: keras.Model, data: Data) -> None:
    """Raise ValueError unless a compiled model trains on the replicas of its strategy as it does on one device."""
    if (strategy := strategy_of(autoencoder)) is not None:
        try:
            _validate_replicable(autoencoder, data, strategy)
        except ValueError as error:
            raise ValueError(f"{error} See tfae docs scale.") from None


def _validate_replicable(autoencoder: keras.Model, data: Data, strategy: tf.distribute.Strategy) -> None:
    synchronous = (
        tf.distribute.MirroredStrategy,
        tf.distribute.MultiWorkerMirroredStrategy,
        tf.distribute.OneDeviceStrategy,
    )
    if not isinstance(strategy, synchronous):
        raise ValueError(
            "strategy: expected MirroredStrategy, MultiWorkerMirroredStrategy or OneDeviceStrategy; received "
            f"{type(strategy).__name__}."
        )
    num_replicas = strategy.num_replicas_in_sync
    where = f"a distribution strategy with {num_replicas} replicas"
    for name in ("train_step", "test_step", "compute_loss"):
        if getattr(type(autoencoder), name) is not getattr(keras.Model, name):
            raise ValueError(
                f"autoencoder: expected a model with the {name} of Keras in {where}; received one of its own, whose "
                "loss would have to be divided among them. Put the loss into a subclass of ReconstructionLoss."
            )
    optimizer = autoencoder.optimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            f"autoencoder: expected a dtype policy without loss scaling in {where}; received mixed_float16. Take "
            "mixed_bfloat16."
        )
    for name in ("clipnorm", "clipvalue", "global_clipnorm", "gradient_accumulation_steps"):
        if getattr(optimizer, name, None) is not None:
            raise ValueError(
                f"optimizer: expected none with {name} in {where}, where it would act on the gradients of each; "
                f"received {getattr(optimizer, name)}."
            )
    if autoencoder.run_eagerly:
        raise ValueError(f"run_eagerly: expected False in {where}; received True.")
    if num_replicas == 1:
        return
    if tuple(map(int, keras.version().split(".")[:2])) < LEAST_KERAS:
        least = ".".join(map(str, LEAST_KERAS))
        raise ValueError(
            f"strategy: expected Keras {least} or newer in {where}; received {keras.version()}, whose optimizers fail "
            "there. Upgrade keras."
        )
    for layer in layers_of(autoencoder):
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized:
            raise ValueError(
                f"autoencoder: expected BatchNormalization(synchronized=True) in {where}; received {layer.name!r} "
                "without, which normalises the samples of each replica by themselves."
            )
        if getattr(layer, "free_bits", 0):
            raise ValueError(
                f"free_bits: expected 0 in {where}, as they are of the mean over a batch; received {layer.free_bits}."
            )
    loss = autoencoder.loss
    if loss.reduction != "sum_over_batch_size":
        raise ValueError(f"loss: expected reduction='sum_over_batch_size' in {where}; received {loss.reduction!r}.")
    if loss.depends_on_batch:
        raise ValueError(
            f"loss: expected one of each sample in {where}; received {loss!r}, which depends on the whole batch. Give "
            "it sigma."
        )
    last = len(data.raw.train) % data.batch_size or data.batch_size
    if last < num_replicas:
        raise ValueError(
            f"batch_size: expected at least {num_replicas} samples in the last batch of an epoch, one for each "
            f"replica; received {last}. Take another batch size."
        )


def ask_chief(strategy: tf.distribute.Strategy | None, answer: int) -> int:
    """Return the ``answer`` of the chief on all workers."""
    return answer if strategy is None else int(_gather(strategy, np.array([answer], "int32"))[0, 0])


def validate_agreement(strategy: tf.distribute.Strategy | None, about: Any) -> None:
    """Raise ValueError on all workers unless ``about``, which is JSON-able, is the same on all."""
    if strategy is None:
        return
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True, default=str).encode(), digest_size=8).digest()
    digests = _gather(strategy, np.frombuffer(digest, "<i4"))
    if (digests != digests[0]).any():
        raise ValueError(
            "training: expected all workers to have the same data, model and arguments; received others on some. Run "
            "the same script on all, where they read the same files."
        )


@contextlib.contextmanager
def together(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Have all workers wait for each other at the end of the block, and raise where one of them does."""
    try:
        yield
    except BaseException:
        if strategy is not None:
            _gather(strategy, np.zeros(1, "int32"))
        raise
    if strategy is not None and not _gather(strategy, np.ones(1, "int32")).all():
        raise ValueError("training: expected all workers to go on; one does not. Its own message says why.")


@contextlib.contextmanager
def explain_lost_worker(strategy: tf.distribute.Strategy | None, run_dir: Path) -> Iterator[None]:
    """Raise LostWorkerError where TensorFlow says in words of its own that a worker is gone."""
    try:
        yield
    except _LOST as error:
        if strategy is None or strategy.cluster_resolver is None:
            raise
        raise LostWorkerError(
            f"training: expected all workers to stay; one is gone, or does not answer. Start all again, with "
            f"or_resume=True: they go on from the last checkpoint, in {run_dir}."
        ) from error


def _gather(strategy: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """Return the values ``(n,)`` of all replicas, ``(num_replicas, n)``."""
    mine = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(values[None]))
    return strategy.gather(mine, axis=0).numpy()
