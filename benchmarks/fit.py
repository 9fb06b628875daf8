"""How fast training is, beside stock Keras and other libraries: ``python -m benchmarks.fit``.

Samples per second of an epoch of the same autoencoders, in turns; the roof is the dense model's matrix products alone,
in NumPy. Then what a short training and a first step take in all, compilation included. The peers come with the extra
``bench``; those that are not installed are left out with a word.
"""

import argparse
import functools
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks import machine, peers, rounds
from benchmarks.peers import BATCH_SIZE, LATENT_DIM, WIDTHS, some_images
from benchmarks.rounds import Contestant

CONVOLUTIONAL_LATENT_DIM = 16


def matrix_products(num_samples: int) -> Contestant:
    """The products of the dense model, forward and backward."""
    widths = (784, *WIDTHS, LATENT_DIM, *WIDTHS[::-1], 784)
    generator = np.random.default_rng(0)
    values = [generator.random((BATCH_SIZE, width), dtype=np.float32) for width in widths]
    kernels = [generator.random(shape, dtype=np.float32) for shape in itertools.pairwise(widths)]

    def run() -> float:
        for _ in range(num_samples // BATCH_SIZE):
            for value, kernel in zip(values, kernels, strict=False):
                value @ kernel
            for index in reversed(range(len(kernels))):
                values[index].T @ values[index + 1]
                if index:
                    values[index + 1] @ kernels[index].T
        return num_samples // BATCH_SIZE * BATCH_SIZE

    return run


def build(architecture: str) -> Any:
    from tfae import models

    if architecture == "dense":
        return models.dense((28, 28, 1), latent_dim=LATENT_DIM, widths=WIDTHS)
    return models.convolutional((28, 28, 1), latent_dim=CONVOLUTIONAL_LATENT_DIM)


def stock_keras(architecture: str, num_images: int) -> Contestant:
    """``compile`` and ``fit`` on float arrays, as most people write it."""
    model = build(architecture)
    model.compile("adam", "mse")
    x = some_images(num_images) / np.float32(255)

    def epoch() -> float:
        model.fit(x, x, batch_size=BATCH_SIZE, verbose=0)
        return len(x)

    return epoch


def tutorial_pipeline(architecture: str, num_images: int) -> Contestant:
    """The pipeline of TFDS's Keras tutorial: map, cache, shuffle, batch, prefetch."""
    import tensorflow as tf

    model = build(architecture)
    model.compile("adam", "mse")
    images = some_images(num_images)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    dataset = dataset.map(lambda image: (tf.cast(image, tf.float32) / 255,) * 2, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.cache().shuffle(len(images)).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)

    def epoch() -> float:
        model.fit(dataset, verbose=0, shuffle=False)
        return len(images)

    return epoch


def ours(architecture: str, num_images: int) -> Contestant:
    """``tfae.training.compile``, and Keras's ``fit``."""
    from tfae import losses, training

    model, data = build(architecture), load(num_images)
    training.compile(model, losses.SquaredError(), data, epochs=1000)

    def epoch() -> float:
        model.fit(data.train, verbose=0, shuffle=False)
        return len(data.raw.train)

    return epoch


def short_training(kind: str, epochs: int) -> Callable[[], float]:
    """A training of the default dense model on the digits, from building to the last epoch; units are trainings."""
    from tfae import datasets, losses, models, training

    data = datasets.load("digits")
    x, x_validation = (data.preprocessing(samples).numpy() for samples in data.raw[:2])

    def run() -> float:
        model = models.dense(data.shape, latent_dim=16)
        if kind == "tfae":
            training.compile(model, losses.SquaredError(), data, epochs=epochs)
            model.fit(data.train, validation_data=data.validation, epochs=epochs, verbose=0, shuffle=False)
        else:
            model.compile("adam", "mse")
            model.fit(x, x, batch_size=128, validation_data=(x_validation, x_validation), epochs=epochs, verbose=0)
        return 1

    return run


def first_step(kind: str) -> Callable[[], float]:
    """Building the default dense model for images of 28 × 28 and its first batch; units are first steps."""
    from tfae import losses, models, training

    data = load(BATCH_SIZE * 4)
    x, _ = next(iter(data.train))
    x = x.numpy()

    class StopError(Exception):
        pass

    def run() -> float:
        import keras

        class StopAtOnce(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                raise StopError

        model = models.dense((28, 28, 1), latent_dim=16)
        try:
            if kind == "tfae":
                training.compile(model, losses.SquaredError(), data, epochs=30)
                model.fit(data.train, verbose=0, shuffle=False, callbacks=[StopAtOnce()])
            else:
                model.compile("adam", "mse")
                model.fit(x, x, batch_size=BATCH_SIZE, verbose=0, callbacks=[StopAtOnce()])
        except StopError:
            pass
        return 1

    return run


def load(num_images: int) -> Any:
    """Images as a training split; the other two are there for form's sake."""
    from tfae import datasets

    images = some_images(num_images)
    others = images[:2] ^ 255
    return datasets.load({"train": images, "validation": others[:1], "test": others[1:]}, batch_size=BATCH_SIZE)


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the speeds of the two models, from the slowest round to the fastest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.6), layout="constrained")
    for ax, title in zip(figure.subplots(1, 2), ("dense", "convolutional"), strict=True):
        speeds = {name: np.array(values) / 1000 for name, values in result[title].items()}
        for place, (name, values) in enumerate(sorted(speeds.items(), key=lambda item: np.median(item[1]))):
            color = {"tfae": "#e76300", "matrix products": "#999999"}.get(name, "#3f90da")
            ax.hlines(place, values.min(), values.max(), color=color, linewidth=6, alpha=0.35)
            ax.plot(np.median(values), place, "o", color=color)
        ax.set_yticks(range(len(speeds)), sorted(speeds, key=lambda name: np.median(speeds[name])))
        ax.set(title=f"{title} autoencoder", xlabel="thousand samples per second", xlim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="little work, to see that everything runs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--picture", type=Path, help="draw the speeds, too")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    num_rounds = 1 if arguments.smoke else arguments.rounds
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)

    result: dict[str, Any] = {"machine": about, "smoke": arguments.smoke}
    num_images = 300 if arguments.smoke else 60_000
    dense: dict[str, Callable[[], Contestant]] = {
        "tfae": functools.partial(ours, "dense", num_images),
        "stock Keras": functools.partial(stock_keras, "dense", num_images),
        "tutorial's tf.data": functools.partial(tutorial_pipeline, "dense", num_images),
        "matrix products": functools.partial(matrix_products, num_images),
        "PyTorch": functools.partial(peers.torch_dense, num_images),
        "PyOD": functools.partial(peers.pyod, num_images),
        "pythae": functools.partial(peers.pythae, num_images),
    }
    num_images = 300 if arguments.smoke else 10_000
    convolutional: dict[str, Callable[[], Contestant]] = {
        "tfae": functools.partial(ours, "convolutional", num_images),
        "stock Keras": functools.partial(stock_keras, "convolutional", num_images),
        "tutorial's tf.data": functools.partial(tutorial_pipeline, "convolutional", num_images),
        "PyTorch": functools.partial(peers.torch_convolutional, num_images, CONVOLUTIONAL_LATENT_DIM),
    }
    epochs = 2 if arguments.smoke else 30
    short = {kind: functools.partial(short_training, kind, epochs) for kind in ("tfae", "stock Keras")}
    first = {kind: functools.partial(first_step, kind) for kind in ("tfae", "stock Keras")}
    for title, unit, contestants in (
        ("dense", "samples/s", dense),
        ("convolutional", "samples/s", convolutional),
        (f"the digits, {epochs} epochs in all", "trainings/s", short),
        ("building the default dense model, and its first step", "times/s", first),
    ):
        speeds = rounds.measure(contestants, num_rounds, left_out=console.print)
        roof = "matrix products" if "matrix products" in speeds else None
        console.print(rounds.table(speeds, title=title, unit=unit, of="tfae", roof=roof))
        result[title] = speeds
    if arguments.picture:
        draw(result, arguments.picture)
    path = machine.write("fit", result)
    console.print(f"written to {path.relative_to(machine.ROOT)}")


if __name__ == "__main__":
    main()
