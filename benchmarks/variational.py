"""Variational autoencoders beside published figures: ``python -m benchmarks.variational``.

``keras``: the example "Variational AutoEncoder" of Keras, convolutional with two latent units, on all 70,000 digits of
MNIST. Its own run ends at 146.95 = 140.15 + 6.80 after 30 epochs. Here it is the same architecture with a
``tfae.models.Gaussian`` bottleneck, under ``tfae.training.compile`` and under the example's optimizer, and the example
itself. ``tfp``: digits
that are binarised at random, as in the example "Probabilistic layers" of TensorFlow Probability, which ends at a
negative ELBO of 118.89 (validation 119.48) after 15 epochs with 750,000 weights. ``bound``: the importance-weighted
bound of the model of Burda et al. (2016), table 1, where the best of long trainings is 86.76. ``speed``: samples per
second of a dense variational autoencoder, in turns with the plain one, with Keras's example and with pythae. MNIST
comes from the original files in ``$TFAE_DATA_DIR/mnist``, or from where TFDS has it.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

# No TensorFlow up here: it would be imported in the processes of the contestants too, and beside it pythae's PyTorch
# waits forever.
from benchmarks import machine, peers, rounds
from benchmarks.machine import ROOT
from benchmarks.peers import BATCH_SIZE, LATENT_DIM, WIDTHS, some_images

if TYPE_CHECKING:
    import keras

SECTIONS = ("keras", "tfp", "bound", "speed")
KERAS_EPOCHS, TFAE_EPOCHS, TFP_EPOCHS, BOUND_EPOCHS = 30, 20, 15, 100
PUBLISHED = {"keras": 146.95, "tfp": 118.89, "tfp validation": 119.48, "bound": 86.76}


@functools.cache
def all_digits(smoke: bool) -> np.ndarray:
    """uint8 ``(70000, 28, 28, 1)``; for a smoke test some noise."""
    from tfae import datasets

    if smoke:
        return some_images(1000)
    originals = Path(os.environ.get("TFAE_DATA_DIR", ROOT.parent / "shared" / "data")) / "mnist"
    return np.concatenate(datasets.load("mnist", manual_dir=originals if originals.exists() else None).raw)


def binarised(smoke: bool) -> Any:
    """Splits of digits of 0 and 1, drawn once with the gray values as probabilities."""
    from tfae import datasets

    digits = all_digits(smoke)
    ones = np.random.default_rng(0).random(digits.shape, "float32") * 255 < digits
    return datasets.load(ones.astype("float32"), preprocessing="none", splits=(0.85, 0.01, 0.14))


def example_parts(activation: str | None) -> tuple[keras.Model, keras.Model]:
    """The layers of Keras's example: to the features in front of the latent, and from the latent on."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(32, 3, 2, "same", activation="relu")(inputs)
    x = layers.Flatten()(layers.Conv2D(64, 3, 2, "same", activation="relu")(x))
    features = keras.Model(inputs, layers.Dense(16, "relu")(x))
    inputs = keras.Input((2,))
    x = layers.Reshape((7, 7, 64))(layers.Dense(7 * 7 * 64, "relu")(inputs))
    x = layers.Conv2DTranspose(64, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2DTranspose(32, 3, 2, "same", activation="relu")(x)
    outputs = layers.Conv2DTranspose(1, 3, 1, "same", activation=activation)(x)
    return features, keras.Model(inputs, outputs, name="decoder")


def build_example() -> keras.Model:
    """The architecture of Keras's example, which emits logits here."""
    import keras

    from tfae.models import Gaussian

    features, decoder = example_parts(None)
    encoder = keras.Model(features.input, Gaussian(latent_dim=2)(features.output), name="encoder")
    inputs = keras.Input((28, 28, 1))
    return keras.Model(inputs, decoder(encoder(inputs)))


def train_keras_example(by: str, epochs: int, smoke: bool, console: Console) -> dict[str, Any]:
    """The parts of the loss by epoch."""
    import keras

    from tfae import datasets, losses, training

    x, began = all_digits(smoke), time.perf_counter()
    tell = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: console.print(
            f"{by}, epoch {epoch + 1}: {logs['loss']:.2f} = {logs['reconstruction']:.2f} + {logs['kl']:.2f}"
        )
    )
    options: dict[str, Any] = {"epochs": epochs, "verbose": 0, "callbacks": [tell]}
    if by == "tfae.training.compile":
        vae, data = build_example(), datasets.load(x, splits=(0.998, 0.001, 0.001), batch_size=128)
        training.compile(vae, losses.BinaryCrossentropy(from_logits=True), data, epochs=epochs)
        history = vae.fit(data.train, shuffle=False, **options).history
    elif by == "Keras's train_step":
        vae = peers.keras_variational(*example_parts("sigmoid"), 2)
        history = vae.fit(x.astype("float32") / 255, batch_size=128, **options).history
    else:
        vae, x = build_example(), x.astype("float32") / 255
        parts = [losses.LossPart("reconstruction"), losses.LossPart("gaussian/kl")]
        vae.compile(keras.optimizers.Adam(), losses.BinaryCrossentropy(from_logits=True), metrics=parts)
        history = vae.fit(x, x, batch_size=128, **options).history
    return {"by": by, "seconds": time.perf_counter() - began, "history": history}


def run_keras(smoke: bool, console: Console) -> dict[str, Any]:
    trainings = {"tfae.training.compile": TFAE_EPOCHS, "its Adam": KERAS_EPOCHS, "Keras's train_step": KERAS_EPOCHS}
    found = [train_keras_example(by, 1 if smoke else epochs, smoke, console) for by, epochs in trainings.items()]
    table = Table("trained by", "epochs", "loss", "reconstruction", "KL", "epoch at 146.95", "s / epoch")
    table.title = "Keras's example, 70,000 digits; published: 146.95 = 140.15 + 6.80 after 30 epochs"
    for each in found:
        history = each["history"]
        reached = [number for number, loss in enumerate(history["loss"], 1) if loss <= PUBLISHED["keras"]]
        last = [f"{history[name][-1]:.2f}" for name in ("loss", "reconstruction", "kl")]
        count = len(history["loss"])
        table.add_row(
            each["by"], str(count), *last, str(reached[0] if reached else "–"), f"{each['seconds'] / count:.1f}"
        )
    console.print(table)
    return {"trainings": found, "published": PUBLISHED["keras"]}


def run_tfp(smoke: bool, console: Console) -> dict[str, Any]:
    import keras

    from tfae import evaluation, losses, models, training

    data, epochs = binarised(smoke), 1 if smoke else TFP_EPOCHS
    keras.utils.set_random_seed(0)
    vae = models.dense(data.shape, latent_dim=16, bottleneck=models.Gaussian())
    training.compile(vae, losses.BinaryCrossentropy(from_logits=True), data, epochs=epochs)
    began = time.perf_counter()
    vae.fit(data.train, epochs=epochs, verbose=0, shuffle=False)
    seconds = time.perf_counter() - began
    test = evaluation.evaluate(vae, data.test, num_draws=16)
    console.print(
        f"binarised digits, dense {vae.count_params():,} weights, {epochs} epochs in {seconds:.0f} s: "
        f"negative ELBO {test.negative_elbo:.2f} on test digits (published: {PUBLISHED['tfp validation']})"
    )
    return {"test": test.as_dict(), "seconds": seconds, "num_weights": vae.count_params()}


def run_bound(smoke: bool, console: Console) -> dict[str, Any]:
    import keras

    from tfae import evaluation, losses, models, training

    data, epochs = binarised(smoke), 1 if smoke else BOUND_EPOCHS
    num_draws, num_evaluated = (10, 10) if smoke else (5000, 1000)
    keras.utils.set_random_seed(0)
    vae = models.dense(data.shape, latent_dim=50, widths=(200, 200), activation="tanh", bottleneck=models.Gaussian())
    training.compile(vae, losses.BinaryCrossentropy(from_logits=True), data, epochs=epochs)
    curve, began = [], time.perf_counter()
    some = data.test.unbatch().take(num_evaluated).batch(250)
    stops = sorted({max(1, epochs * share // 8) for share in (1, 2, 4, 6, 8)})
    seconds = 0.0
    for first, last in zip([0, *stops], stops, strict=False):
        began = time.perf_counter()
        vae.fit(data.train_from(first), initial_epoch=first, epochs=last, verbose=0, shuffle=False)
        seconds += time.perf_counter() - began
        found = evaluation.evaluate(vae, data.test, num_draws=50)
        curve.append((last, seconds, found.negative_elbo, found.importance_bound))
        console.print(
            f"epoch {last}, {seconds:.0f} s: negative ELBO {curve[-1][2]:.2f}, bound of 50 draws {curve[-1][3]:.2f}"
        )
    found = evaluation.evaluate(vae, some, num_draws=num_draws)
    console.print(
        f"bound of {num_draws:,} draws on {num_evaluated:,} test digits: {found.importance_bound:.2f}; active units "
        f"{found.num_active_units} of 50 (published, after 3,280 epochs: {PUBLISHED['bound']}, 19 units)"
    )
    return {"curve": curve, "bound": found.as_dict()}


def ours(bottleneck: bool, num_images: int) -> rounds.Contestant:
    """An epoch of the dense model, with a Gaussian bottleneck or a plain one, by ``tfae.training.compile``."""
    from tfae import datasets, losses, models, training

    data = datasets.load(some_images(num_images), batch_size=BATCH_SIZE)
    model = models.dense(
        data.shape, latent_dim=LATENT_DIM, widths=WIDTHS, bottleneck=models.Gaussian() if bottleneck else None
    )
    training.compile(model, losses.BinaryCrossentropy(from_logits=True), data, epochs=1000)

    def epoch() -> float:
        model.fit(data.train, verbose=0, shuffle=False)
        return len(data.raw.train)

    return epoch


def run_speed(num_rounds: int, num_images: int, console: Console) -> dict[str, Any]:
    contestants = {
        "tfae, variational": functools.partial(ours, True, num_images),
        "tfae, plain": functools.partial(ours, False, num_images),
        "Keras's example": functools.partial(peers.keras_dense_variational, num_images),
        "pythae": functools.partial(peers.pythae, num_images, variational=True),
    }
    speeds = rounds.measure(contestants, num_rounds, console.print)
    console.print(rounds.table(speeds, title="a dense model, 512-128-32", unit="samples / s", of="tfae, variational"))
    return {"speeds": speeds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rounds", type=int, default=5, help="of the speeds")
    parser.add_argument("--smoke", action="store_true", help="one epoch on noise, to see that it runs")
    arguments = parser.parse_args()
    console, about = Console(), machine.describe()
    console.print(machine.header(about))
    result: dict[str, Any] = {"machine": about, "smoke": arguments.smoke}
    for section in arguments.sections:
        if section == "speed":
            result[section] = run_speed(
                1 if arguments.smoke else arguments.rounds, 1280 if arguments.smoke else 12_800, console
            )
        else:
            run = {"keras": run_keras, "tfp": run_tfp, "bound": run_bound}[section]
            result[section] = run(arguments.smoke, console)
    console.print(f"written to {machine.write('variational', result)}")


if __name__ == "__main__":
    main()
