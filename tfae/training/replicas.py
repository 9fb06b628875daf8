"""Steps of a model on the replicas of a distribution strategy.

Keras's ``fit`` goes over whole batches, as on one device, and what it calls for a batch runs on the replicas: each
trains on its part. So callbacks, checkpoints and the order of samples are those of one device.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from tfae.training.strategies import call_on_replicas


@final
class Replicas:
    """The replicas of a model, to train and evaluate on.

    The samples of a batch are divided among them in their order. Gradients are weighed by the number of samples that
    they come from, so that a batch that does not come out even counts as it does on one device.
    """

    def __init__(self, autoencoder: keras.Model, strategy: tf.distribute.Strategy) -> None:
        self._autoencoder = autoencoder
        self._strategy = strategy
        self._num_replicas = strategy.num_replicas_in_sync
        ids = strategy.experimental_distribute_values_from_function(lambda context: context.replica_id_in_sync_group)
        self._local = [int(number) for number in strategy.experimental_local_results(ids)]
        self._num_seen = np.zeros(self._num_replicas)
        self._draws_apart = False
        self._loss = threading.local()  # Each replica is traced in a thread of its own.
        self._metrics: dict[str, Any] = {}
        self._programs: dict[Any, Callable] = {}

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Have Keras fit and evaluate as on one device in the block."""
        model = self._autoencoder
        # Keras would distribute the data itself, and fails at that on several workers (keras issue 20585).
        strategy, model._distribute_strategy = model._distribute_strategy, None
        model.test_function = self.test
        try:
            yield
        finally:
            model._distribute_strategy, model.test_function = strategy, None
            if self._draws_apart:
                self._shift_seeds(-1)

    def retrace(self) -> None:
        """Trace all programs anew when they are called next."""
        self._programs.clear()

    def begin_epoch(self) -> None:
        """Count samples anew, as the metrics do, and let each replica draw random numbers of its own from now on."""
        self._num_seen[:] = 0
        if not self._draws_apart:  # Whatever random states were to be restored, they are by now.
            self._shift_seeds(1)

    def _shift_seeds(self, by: int) -> None:
        """Change the random states of all replicas but the first, whose are those of a single device."""
        states = [variable for variable in self._autoencoder.variables if "seed_generator_state" in variable.path]

        def shift() -> None:
            for state in states:
                state.value.assign_add(tf.constant([by * self._replica(), 0], state.value.dtype))

        call_on_replicas(self._strategy, shift)
        self._draws_apart = by > 0

    def skip(self, batch: Any) -> None:
        """Count a batch that was trained on before; its metrics were restored, in equal parts."""
        self._num_seen += _size(batch) / self._num_replicas

    def train(self, batch: Any, wishes: np.ndarray) -> tuple[dict[str, tf.Tensor], np.ndarray]:
        """Train on a batch, and add up what all workers wish.

        Args:
            batch: Tensors ``(batch, ...)``, the samples of all replicas.
            wishes: float32 ``(n,)``, of this worker.

        Returns:
            The metrics of the epoch so far, over all replicas; and the sums of the wishes, float32 ``(n,)``.
        """
        parts, sizes = self._cut(batch)
        self._num_seen += sizes
        weights = sizes / np.mean(sizes)  # Keras has divided each loss by the number of replicas.
        shares = self._num_seen / np.sum(self._num_seen)
        arguments = [tf.constant(each[self._local], tf.float32) for each in (weights, shares)]
        if "train" not in self._programs:
            self._programs["train"] = self._program(self._train_part, parts, *arguments, tf.constant(wishes))
        with self._weighed_loss():
            sums = self._programs["train"](parts, *arguments, tf.constant(wishes))[0]
        num_metrics = len(sums) - len(wishes)
        metrics = tf.nest.pack_sequence_as(self._metrics, tf.unstack(sums[:num_metrics]))
        return metrics, sums[num_metrics:].numpy()

    def test(self, iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
        """Evaluate on the next batch, as a test function of Keras; return metrics of a replica of this worker."""
        parts, sizes = self._cut(next(iterator))
        has_samples = tuple(sizes[self._local] > 0)
        if has_samples not in self._programs:
            self._programs[has_samples] = self._program(lambda parts: self._test_part(parts, has_samples), parts)
        return self._programs[has_samples](parts)[0]

    def _train_part(self, parts: list[Any], weights: tf.Tensor, shares: tf.Tensor, wishes: tf.Tensor) -> tf.Tensor:
        place = self._local.index(self._replica())
        self._loss.weight = weights[place]
        self._metrics = self._autoencoder.train_step(parts[place])
        so_far = [tf.cast(value, tf.float32) * shares[place] for value in tf.nest.flatten(self._metrics)]
        wished = wishes if place == 0 else tf.zeros_like(wishes)
        return tf.distribute.get_replica_context().all_reduce("sum", tf.concat([tf.stack(so_far), wished], 0))

    def _test_part(self, parts: list[Any], has_samples: tuple[bool, ...]) -> dict[str, tf.Tensor]:
        place = self._local.index(self._replica())
        if has_samples[place]:
            return self._autoencoder.test_step(parts[place])
        return self._autoencoder.get_metrics_result()

    def _program(self, part: Callable, *arguments: Any) -> Callable:
        """Return a function that runs ``part`` on each replica, and returns what those of this worker return."""

        # One graph for parts of every size: workers that trace at different steps would no longer meet.
        def spec_of(tensor: tf.Tensor) -> tf.TensorSpec:
            return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)

        @tf.function(input_signature=tf.nest.map_structure(spec_of, arguments), autograph=False)
        def run(*arguments: Any) -> Any:
            return self._strategy.experimental_local_results(self._strategy.run(part, arguments))

        return run

    def _cut(self, batch: Any) -> tuple[list[Any], np.ndarray]:
        """The parts of the replicas of this worker, and the numbers of samples of all."""
        cuts = np.arange(self._num_replicas + 1) * _size(batch) // self._num_replicas
        parts = [
            tf.nest.map_structure(lambda tensor, k=number: tensor[cuts[k] : cuts[k + 1]], batch)
            for number in self._local
        ]
        return parts, np.diff(cuts)

    def _replica(self) -> int:
        return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))

    @contextlib.contextmanager
    def _weighed_loss(self) -> Iterator[None]:
        """Have the optimizer differentiate the loss of a replica times its weight; metrics do not see that."""
        optimizer = self._autoencoder.optimizer
        scale_loss = optimizer.scale_loss
        optimizer.scale_loss = lambda loss: scale_loss(loss * tf.cast(self._loss.weight, loss.dtype))
        try:
            yield
        finally:
            del optimizer.scale_loss


def _size(batch: Any) -> int:
    return int(tf.nest.flatten(batch)[0].shape[0])
