"""What feeds a model: the samples of a split, batch by batch, in model space."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf

from tfae.datasets.orders import Permutation, StoredOrder, WindowedShuffle
from tfae.datasets.stored import StoredSamples
from tfae.preprocessing import Preprocessing

# Batches that are ready before they are asked for. A training takes dozens at once.
_PREFETCHED = 16


@final
@dataclass(frozen=True)
class Feed:
    """Pipelines of one split.

    Attributes:
        samples: ``(n, *shape)`` in data space, in memory or on disk.
        preprocessing: From data space to model space.
        batch_size: Samples per batch; the last one may be smaller.
    """

    samples: tf.Tensor | StoredSamples
    preprocessing: Preprocessing
    batch_size: int

    def in_stored_order(self) -> tf.data.Dataset:
        """Batches ``(x, x)``, float32 ``(batch, *shape)``, of all samples."""
        if isinstance(self.samples, StoredSamples):
            return self._read(StoredOrder(self.samples), itertools.repeat(0))
        starts = tf.data.Dataset.range(0, len(self.samples), self.batch_size)
        return self._scaled(starts.map(lambda start: self.samples[start : start + self.batch_size]))

    def shuffled(self, seed: int, epoch: int) -> tf.data.Dataset:
        """Likewise, in the order of another epoch every time it is iterated over: first of ``epoch``, then the next."""
        # tf.data's own shuffle mixes Keras's and TensorFlow's global seed into the given one.
        epochs = itertools.count(epoch)
        order = self.order(seed)
        if isinstance(order, WindowedShuffle):
            return self._read(order, epochs)
        drawn = _once(lambda: order.indices(next(epochs)), tf.TensorSpec((len(self.samples),), tf.int64))
        return self._scaled(drawn.rebatch(self.batch_size).map(lambda indices: tf.gather(self.samples, indices)))

    def order(self, seed: int) -> Permutation | WindowedShuffle:
        """The order that ``shuffled`` brings the samples into."""
        if isinstance(self.samples, StoredSamples):
            return WindowedShuffle(self.samples, seed)
        return Permutation(len(self.samples), seed)

    def _read(self, order: StoredOrder | WindowedShuffle, epochs: Iterator[int]) -> tf.data.Dataset:
        # TensorFlow never lets go of a Python function, nor of what it refers to: it would keep the file open for good.
        # So the pipeline keeps the order, and the functions know it as long as there is one.
        alive = weakref.ref(order)

        def begin() -> np.ndarray:
            epoch = next(epochs)
            return np.array([epoch, alive().num_blocks(epoch)])  # type: ignore[union-attr]

        def read(epoch: int, index: int) -> np.ndarray:
            return alive().block(int(epoch), int(index))  # type: ignore[union-attr]

        def blocks(begun: tf.Tensor) -> tf.data.Dataset:
            spec = tf.TensorSpec((None, *self.samples.shape[1:]), self.samples.dtype)
            return tf.data.Dataset.range(begun[1]).map(lambda index: _called(read, [begun[0], index], spec))

        samples = _once(begin, tf.TensorSpec((2,), tf.int64)).flat_map(blocks)
        samples.order = order
        # Blocks are larger than batches: going through Python takes as long as a batch does.
        return self._scaled(samples.rebatch(self.batch_size))

    def _scaled(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        preprocessing = self.preprocessing

        def pair(samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            x = preprocessing(samples)
            return x, x

        options = tf.data.Options()
        options.deterministic = True
        # Autotuning wakes up on a timer of seconds, and a short fit would end by waiting for it.
        options.autotune.enabled = False
        num_batches = -(-len(self.samples) // self.batch_size)
        return (
            batches.map(pair)
            .apply(tf.data.experimental.assert_cardinality(num_batches))
            .prefetch(_PREFETCHED)
            .with_options(options)
        )


# Not from_generator: that has the C library give every array of 128 kB or more back to the system, in this process and
# from then on, and with the temporary ones of a training that costs a quarter of its time.
def _once(function: Callable[[], Any], spec: tf.TensorSpec) -> tf.data.Dataset:
    """One element: what ``function`` returns, asked anew in every iteration."""
    return tf.data.Dataset.range(1).map(lambda _: _called(function, [], spec))


def _called(function: Callable[..., Any], arguments: list[tf.Tensor], spec: tf.TensorSpec) -> tf.Tensor:
    return tf.ensure_shape(tf.numpy_function(function, arguments, spec.dtype), spec.shape)
