"""Pipelines that feed a model: the samples of a split, batch by batch, in model space."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf

from tfae.datasets.orders import WindowedShuffle, shuffle
from tfae.datasets.stored import StoredSamples
from tfae.datasets.windows import Windows
from tfae.moments import rows_per_block
from tfae.preprocessing import Preprocessing

# Batches that are ready before they are asked for. A training takes dozens at once.
_PREFETCHED = 16

# Nothing in a pipeline branches on a tensor. AutoGraph would take a second to find that out.
_unconverted = tf.autograph.experimental.do_not_convert


@final
@dataclass(frozen=True)
class Feed:
    """Pipelines of one split: batches ``(x, x)``; or ``(inputs, x)``, and ``(inputs, x, sample_weight)``.

    Samples, and inputs in their place, are in data space, ``(n, *shape)``; weights are float32 ``(n,)``.
    """

    samples: tf.Tensor | StoredSamples | Windows
    preprocessing: Preprocessing
    batch_size: int
    inputs: tf.Tensor | None = None
    sample_weight: tf.Tensor | None = None

    def in_stored_order(self) -> tf.data.Dataset:
        """Batches ``(x, x)``, float32 ``(batch, *shape)``, of all samples."""
        samples, count = self.samples, len(self.samples)
        if isinstance(samples, StoredSamples):
            size = rows_per_block(samples)
            read = self._reader(samples, lambda held, start, stop: held[start:stop])
            blocks = tf.data.Dataset.range(0, count, size).map(
                _unconverted(lambda start: read(start, tf.minimum(start + size, count)))
            )
            return self._finish(self._rebatch(blocks, samples))
        starts = tf.data.Dataset.range(0, count, self.batch_size)
        size = self.batch_size
        take = _unconverted(lambda start: self._take(lambda held: _slice(held, start, tf.minimum(start + size, count))))
        return self._finish(starts.map(take))

    def shuffled(self, seed: int, epoch: int, step: int = 0) -> tf.data.Dataset:
        """Likewise, in the order of another epoch each time; the first iteration begins with a step of ``epoch``."""
        samples, count, begin = self.samples, len(self.samples), np.int64(step * self.batch_size)
        if isinstance(samples, StoredSamples):
            order = WindowedShuffle(samples, seed)
            size, block = order.block_size, self._reader(order, WindowedShuffle.block)

            def read(epoch: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> Any:
                return block(epoch, start, order.order(epoch, start, stop))

        else:
            size = self.batch_size

            def read(epoch: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> Any:
                indices = shuffle(tf.range(start, stop), count, seed=seed, epoch=epoch)
                return self._take(lambda held: _gather(held, indices))

        with tf.device("CPU"):
            next_epoch = tf.Variable(epoch, dtype=tf.int64, trainable=False)

        def part(epoch_now: tf.Tensor, start: tf.Tensor) -> Any:
            stop = tf.minimum(start + size, count)
            return read(
                epoch_now, tf.where(epoch_now == epoch, tf.maximum(start, begin), start) if step else start, stop
            )

        # All of it in one function, as an iteration takes milliseconds to instantiate each. Nor is there a tf.cond,
        # which has two more.
        def advance(state: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, Any]:
            is_first = state < 0
            state = tf.where(is_first, next_epoch.assign_add(tf.cast(is_first, tf.int64)) - 1, state)
            return state, (state, start) if step else part(state, start)

        parts = tf.data.Dataset.range(0, count, size).scan(tf.constant(-1, tf.int64), _unconverted(advance))
        if step:
            parts = parts.filter(_unconverted(lambda of, start: (of > epoch) | (start + size > begin)))
            parts = parts.map(_unconverted(part))
        if isinstance(samples, StoredSamples):
            parts = self._rebatch(parts, order)
        return self._finish(parts, is_whole=not step)

    def indices(self, seed: int, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return which samples ``shuffled`` has at the positions from ``start`` to ``stop`` of an epoch."""
        if isinstance(self.samples, StoredSamples):
            return WindowedShuffle(self.samples, seed).indices(epoch, start, stop)
        return shuffle(np.arange(start, stop), len(self.samples), seed=seed, epoch=epoch).numpy()

    def _reader(self, owner: Any, read: Callable[..., np.ndarray]) -> Callable[..., tf.Tensor]:
        """Return a function of tensors that calls ``read`` with ``owner`` and their values, as long as it exists."""
        # TensorFlow never lets go of a Python function, nor of what it refers to: it would keep the file open for good.
        alive = weakref.ref(owner)

        def call(*arguments: np.ndarray) -> np.ndarray:
            return read(alive(), *arguments)

        # TensorFlow itself can not read rows at an offset of a file. Not by from_generator: that has the C library give
        # every array of 128 kB or more back to the system, in this process and from then on, and with the temporary
        # ones of a training that costs a quarter of its time.
        return lambda *arguments: tf.ensure_shape(
            tf.numpy_function(call, arguments, self.samples.dtype), (None, *self.samples.shape[1:])
        )

    def _rebatch(self, blocks: tf.data.Dataset, owner: Any) -> tf.data.Dataset:
        """Make batches of blocks, which are larger: going through Python takes as long as a batch does."""
        blocks.owner = owner
        return blocks.rebatch(self.batch_size).map(_unconverted(self._pair))

    def _take(self, take: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """What is taken out of each of the arrays in memory, in model space."""
        _, x = self._pair(take(self.samples))
        inputs = x if self.inputs is None else self.preprocessing(take(self.inputs))
        return (inputs, x) if self.sample_weight is None else (inputs, x, take(self.sample_weight))

    def _pair(self, samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = self.preprocessing(samples)
        return x, x

    def _finish(self, batches: tf.data.Dataset, *, is_whole: bool = True) -> tf.data.Dataset:
        options = tf.data.Options()
        options.deterministic = True
        # Autotuning wakes up on a timer of seconds, and a short fit would end by waiting for it.
        options.autotune.enabled = False
        if is_whole:
            num_batches = -(-len(self.samples) // self.batch_size)
            batches = batches.apply(tf.data.experimental.assert_cardinality(num_batches))
        return batches.prefetch(_PREFETCHED).with_options(options)


def _gather(held: tf.Tensor | Windows, indices: tf.Tensor) -> tf.Tensor:
    return held.gather(indices) if isinstance(held, Windows) else tf.gather(held, indices)


def _slice(held: tf.Tensor | Windows, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
    return held.gather(tf.range(start, stop)) if isinstance(held, Windows) else held[start:stop]
