"""What feeds a model: the samples of a split, batch by batch, in model space."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import tensorflow as tf

from tfae.datasets.orders import Permutation, WindowedShuffle
from tfae.datasets.stored import StoredSamples
from tfae.preprocessing import Preprocessing
from tfae.spread import blocks

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
            return self._generated(blocks)
        starts = tf.data.Dataset.range(0, len(self.samples), self.batch_size)
        return self._scaled(starts.map(lambda start: self.samples[start : start + self.batch_size]))

    def shuffled(self, seed: int, epoch: int) -> tf.data.Dataset:
        """Likewise, in the order of another epoch every time it is iterated over: first of ``epoch``, then the next."""
        # tf.data's own shuffle mixes Keras's and TensorFlow's global seed into the given one.
        epochs = itertools.count(epoch)
        if isinstance(self.samples, StoredSamples):
            return self._generated(lambda samples: WindowedShuffle(samples, seed).blocks(next(epochs)))
        order = self.order(seed)
        # Not from_generator: that has the C library give every array of 128 kB or more back to the system, in this
        # process and from then on, and the temporary ones of a training cost a quarter of its time then.
        drawn = tf.data.Dataset.range(1).map(
            lambda _: tf.ensure_shape(
                tf.numpy_function(lambda: order.indices(next(epochs)), [], tf.int64), (len(self.samples),)
            )
        )
        return self._scaled(drawn.rebatch(self.batch_size).map(lambda indices: tf.gather(self.samples, indices)))

    def order(self, seed: int) -> Permutation | WindowedShuffle:
        """The order that ``shuffled`` brings the samples into."""
        if isinstance(self.samples, StoredSamples):
            return WindowedShuffle(self.samples, seed)
        return Permutation(len(self.samples), seed)

    def _generated(self, read: Callable[[StoredSamples], Iterator[np.ndarray]]) -> tf.data.Dataset:
        # TensorFlow never lets go of a generator, nor of what it refers to: it would keep the file open for good. So
        # the pipeline keeps the samples, and the generator knows them as long as there is one.
        alive = weakref.ref(self)

        def read_blocks() -> Iterator[np.ndarray]:
            feed = alive()
            assert feed is not None
            yield from read(feed.samples)

        signature = tf.TensorSpec((None, *self.samples.shape[1:]), self.samples.dtype)
        generated = tf.data.Dataset.from_generator(read_blocks, output_signature=signature)
        generated.feed = self
        # Blocks are larger than batches: going through Python takes as long as a batch does.
        return self._scaled(generated.rebatch(self.batch_size))

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
