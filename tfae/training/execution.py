"""How the steps of a training are executed: several per call, compiled by XLA where that pays for itself.

Keras runs one step per call. Much of a step of the models at hand is the overhead of many small kernels, which XLA
fuses, and a dense model trains fastest where the loop over many steps is one XLA program. ``benchmarks/fit.py``
measures it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfae.checks.layers import layers_of
from tfae.datasets import Data
from tfae.schedule import scale_loss
from tfae.training.checkpoint import make_variables
from tfae.training.replicas import Replicas
from tfae.training.strategies import is_chief, strategy_of, validate_replicable

# Per call: so many steps that Python costs nothing, so few that Ctrl-C and checkpoints need not wait.
_STEPS = 64
_BYTES = 2**25
_MULTIPLY_ADDS = 1.5e10
# Rough figures of two cores, from which compilation pays; being wrong by 2 costs a second or two.
_SECONDS_TO_COMPILE = 2.0
_SECONDS_SAVED_PER_STEP = 5e-4
_SECONDS_SAVED_PER_MULTIPLY_ADD = 5e-12

#: What to do about losses that are not finite; it goes on with where to look.
MORE_STABLE = "Lower the learning rate, or look for extreme values"


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite, in the batch of that index in the call."""

    def __init__(self, index: int) -> None:
        super().__init__(f"training: expected a finite loss; received NaN or infinity. {MORE_STABLE} in the data.")
        self.index = index


class Execution:
    """What ``fit`` calls with its iterator over batches, again and again: the model's train function.

    Every call takes up to ``steps`` batches, and runs the model's ``train_step`` on each of them, in order.

    Args:
        autoencoder: Compiled model.
        program: "keras" for Keras's own train function, in eager execution; "replicas" for steps on the replicas of a
            distribution strategy; "graph" for TensorFlow's kernels; "step" where every step is an XLA program, "loop"
            where the loop over the steps is.
        steps: Batches per call.

    Attributes:
        num_skipped: How many batches to take from the iterator without training on them.
        has_others: Whether other processes train with this one.
        is_chief: Whether this is the one of them that writes.
    """

    def __init__(self, autoencoder: keras.Model, program: str, steps: int) -> None:
        self.program = program
        self.steps = steps
        self.num_skipped = 0
        self._autoencoder = autoencoder
        self._run: dict[str, Callable] = {}
        self._by_keras: Callable | None = None
        strategy = strategy_of(autoencoder)
        self._replicas = None if strategy is None else Replicas(autoencoder, strategy)
        self.is_chief = is_chief(strategy)
        self.has_others = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self._restored: dict[str, tf.Tensor] | None = None

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Have Keras's ``fit`` train by this in the block, also on replicas."""
        self._iterator: Iterator[Any] | None = None
        self._restored = None
        self._wished = self._agreed = np.zeros(2, "float32")
        with self._replicas.fitting() if self._replicas else contextlib.nullcontext():
            yield

    def agree(self, *wished: bool) -> tuple[bool, bool]:
        """Return whether to save and whether to stop: what is wished or, if there are others, what any wished before.

        They tell each other with the next step, so that all do it after the same one.
        """
        if not self.has_others:
            return wished[0], wished[1]
        agreed = self._agreed > 0
        self._wished = (np.array(wished) & ~agreed).astype("float32")
        return bool(agreed[0]), bool(agreed[1])

    def install(self) -> None:
        """Have ``fit`` train by this, until the model is compiled anew; it is traced anew."""
        self._run.clear()
        if self._replicas is not None:
            self._replicas.retrace()
        self._autoencoder.steps_per_execution = self.steps
        # They were traced for another number of steps, if they were.
        self._autoencoder.test_function = self._autoencoder.predict_function = None
        if self.program == "keras":
            self._autoencoder.make_train_function(force=True)
            self._by_keras = self._autoencoder.train_function
        self._autoencoder.train_function = self

    def __call__(self, iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        """Train on the next batches.

        Returns:
            The metrics of the epoch so far.

        Raises:
            NonFiniteLossError: Of the first batch for which it is so; nothing is trained after it.
            StopIteration: There are no batches left.
        """
        if self._by_keras is not None and not self.num_skipped:
            metrics = self._by_keras(iterator)
            if not _is_finite(metrics):
                raise NonFiniteLossError(self.steps - 1)
            return metrics
        batches = [_without_none(batch) for batch in itertools.islice(iterator, self.steps)]
        if not batches:
            raise StopIteration
        if self._replicas is not None and self._iterator is not iterator:
            self._replicas.begin_epoch()
            self._iterator = iterator
        if self.num_skipped:
            return self._skip(batches)
        if self._replicas is not None:  # It takes one batch per call.
            metrics, self._agreed = self._replicas.train(batches[0], self._wished)
            if not _is_finite(metrics):
                raise NonFiniteLossError(0)
            return metrics
        num_done = 0
        for _, group in itertools.groupby(batches, lambda batch: [x.shape for x in tf.nest.flatten(batch)]):
            done, finite = self._train(list(group))
            num_done += done
            if not finite:
                raise NonFiniteLossError(num_done - 1)
        return self._autoencoder.get_metrics_result()

    def _skip(self, batches: list[Any]) -> dict[str, tf.Tensor]:
        """Count batches that were trained on before; return the metrics of these, which were restored."""
        if self._replicas is not None:
            self._replicas.skip(batches[0])
        # They stay what they are, and of several workers all would have to ask for them.
        metrics = self._restored or self._autoencoder.get_metrics_result()
        self.num_skipped -= len(batches)
        self._restored = metrics if self.num_skipped else None
        return metrics

    def _train(self, batches: list[Any]) -> tuple[int, bool]:
        """Train on batches of one shape; return on how many, and whether the loss of the last one is finite."""
        if not self._run:
            # Traced before all others, it also makes the variables of the optimizer and the metrics.
            self._run["graph"] = _program(self._autoencoder, "graph", batches[0])
            if self.program != "graph":
                self._run[self.program] = _program(self._autoencoder, self.program, batches[0])
        # XLA compiles anew for every shape. A single batch, the smaller last one of an epoch, is not worth that ...
        program = self.program if len(batches) > 1 or self.steps == 1 else "graph"
        count = len(batches)
        if program == "loop":  # ... and a short group is filled up.
            batches = batches + batches[-1:] * (self.steps - count)
        stacked = tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *batches)
        # A tensor: for every other number, the program would be compiled anew.
        done, finite = self._run[program](stacked, tf.constant(count))
        return int(done), bool(finite)


def prepare(autoencoder: keras.Model, data: Data) -> None:
    """Make a compiled model ready for a training, or raise ValueError if its replicas do not train as one device."""
    validate_replicable(autoencoder, data)
    scale_loss(autoencoder, data.shape)
    make_variables(autoencoder, data.shape)


def choose_execution(autoencoder: keras.Model, data: Data, *, epochs: int) -> dict[str, Any]:
    """Return the arguments of the :class:`Execution` that trains a compiled model on so many epochs fastest."""
    num_batches = int(data.train.cardinality())
    # Forward, and backward by inputs and by weights.
    per_batch = data.batch_size * 3 * multiply_adds(autoencoder)
    num_bytes = 4 * data.batch_size * math.prod(data.shape)
    steps = int(min(_STEPS, num_batches, max(1, _BYTES // num_bytes), max(1, _MULTIPLY_ADDS // max(1, per_batch))))
    steps = -(-num_batches // -(-num_batches // steps))  # as many in each call, as far as it comes out even
    saved = epochs * num_batches * (_SECONDS_SAVED_PER_STEP + _SECONDS_SAVED_PER_MULTIPLY_ADD * per_batch)
    program = "loop"
    if strategy_of(autoencoder) is not None:
        program, steps = "replicas", 1
    elif autoencoder.run_eagerly:
        program, steps = "keras", 1
    elif saved < _SECONDS_TO_COMPILE or not all(layer.supports_jit for layer in layers_of(autoencoder)):
        program = "graph"
    elif any(device.device_type != "CPU" for device in tf.config.list_logical_devices()):
        program = "step"
    elif has_convolutions(autoencoder):  # TensorFlow's own are twice as fast on a CPU as those of XLA.
        program = "graph"
    return {"program": program, "steps": steps}


def has_convolutions(autoencoder: keras.Model) -> bool:
    """Return whether some layer of a model, or of a model inside it, is a convolution of Keras."""
    return any(hasattr(layer, "kernel_size") for layer in layers_of(autoencoder))


def multiply_adds(autoencoder: keras.Model) -> int:
    """Return how many multiplications and additions the forward pass of one sample takes, but for its activations."""
    total = 0
    for layer in layers_of(autoencoder):
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            # A convolution applies its kernel at every position of its output, a transposed one of its input.
            try:
                of = layer.input if "Transpose" in type(layer).__name__ else layer.output
                positions = math.prod(size or 1 for size in of.shape[1:-1])
            except AttributeError:  # Layers of a model that is a class of its own have no symbolic output.
                positions = 1
            total += math.prod(kernel.shape) * positions
    return total


def _program(autoencoder: keras.Model, program: str, batch: Any) -> Callable:
    """Return a function of stacked batches ``(steps, batch, ...)`` and of the number of those to train on.

    It returns on how many it has trained, and whether the loss of the last one is finite.
    """
    step = (
        tf.function(autoencoder.train_step, jit_compile=True, autograph=False)
        if program == "step"
        else autoencoder.train_step
    )

    def run(batches: Any, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def body(index: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            metrics = step(tf.nest.map_structure(lambda stacked: stacked[index], batches))
            return index + 1, _is_finite(metrics)

        return tf.while_loop(
            lambda index, finite: tf.logical_and(index < count, finite), body, (tf.constant(0), tf.constant(True))
        )

    if program == "loop":
        return tf.function(run, jit_compile=True, autograph=False)
    # One graph for batches of every size.
    specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec((None, None, *tensor.shape[1:]), tensor.dtype), batch)
    signature = (specs, tf.TensorSpec((), tf.int32))
    return tf.function(run, input_signature=signature, autograph=False).get_concrete_function()


def _is_finite(metrics: dict[str, Any]) -> tf.Tensor:
    # A train_step of one's own may report under other names.
    watched = [metrics["loss"]] if "loss" in metrics else tf.nest.flatten(metrics)
    return tf.reduce_all([tf.math.is_finite(tf.cast(value, tf.float32)) for value in watched])


def _without_none(batch: Any) -> Any:
    """``(x, y)`` of what Keras makes ``(x, y, None)`` of."""
    while isinstance(batch, tuple) and batch[-1] is None:
        batch = batch[:-1]
    return batch
