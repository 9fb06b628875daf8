"""How soon a training is as good as stock Keras's: ``python -m benchmarks.schedule``.

Stock Keras trains for ten epochs, with Adam as it comes, on arrays; ``tfae.training.compile`` and ``fit`` for half as
many, or for three with convolutions, where an epoch takes as long as stock's. Both in turns, with the same loss,
initial weights and seeds; the validation losses and the seconds, compilation included, are compared. The small data
sets are trained for thirty epochs both ways: there the loss counts, not the time. mnist and fashion_mnist come from the
original files in ``$TFAE_DATA_DIR``, or from where TFDS has them.
"""

import argparse
import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine

LARGE = ("fashion_mnist", "mnist")
SMALL = ("digits", "breast_cancer", "wine", "diabetes")
LOSSES = ("mse", "mae", "bce")
#: Epochs of tfae that take at most a third of the time of stock Keras's ten.
TFAE_EPOCHS = {"dense": 5, "convolutional": 3}


def load(name: str, seed: int) -> Any:
    from tfae import datasets

    originals = Path(os.environ.get("TFAE_DATA_DIR", machine.ROOT.parent / "shared" / "data")) / name
    arguments: dict[str, Any] = {"manual_dir": originals} if originals.is_dir() else {}
    return datasets.load(name, seed=seed, **arguments)


def train(kind: str, data: Any, architecture: str, loss_name: str, epochs: int, seed: int) -> tuple[float, float]:
    """Return the validation loss of the best epoch, which a training keeps, and the seconds of it all."""
    import keras

    from tfae import losses, models, training

    loss = losses.get(loss_name)
    keras.utils.set_random_seed(seed)
    build = models.dense if architecture == "dense" else models.convolutional
    latent_dim = min(16, int(np.prod(data.shape)) // 2)
    x, x_validation = (data.preprocessing(samples).numpy() for samples in data.raw[:2])
    start = time.perf_counter()
    model = build(data.shape, latent_dim=latent_dim, output_activation=loss.output_activation(data.output_range))
    if kind == "tfae":
        training.compile(model, loss, data, epochs=epochs)
        history = model.fit(
            data.train_from(0), validation_data=data.validation, epochs=epochs, verbose=0, shuffle=False
        )
    else:
        model.compile("adam", loss)
        history = model.fit(
            x, x, batch_size=128, validation_data=(x_validation, x_validation), epochs=epochs, verbose=0
        )
    return min(history.history["val_loss"]), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="one epoch on the digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=[*LARGE, *SMALL], choices=[*LARGE, *SMALL])
    parser.add_argument("--architectures", nargs="+", default=["dense", "convolutional"])
    parser.add_argument("--losses", nargs="+", default=LOSSES)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    names, seeds = (["digits"], 1) if arguments.smoke else (arguments.data, arguments.seeds)
    table = Table("data", "model", "loss", "epochs", "validation loss / stock's", "seconds / stock's", title="schedule")
    rows: list[dict[str, Any]] = []
    for name, architecture, loss_name in itertools.product(names, arguments.architectures, arguments.losses):
        epochs = {"stock": 10, "tfae": TFAE_EPOCHS[architecture]} if name in LARGE else {"stock": 30, "tfae": 30}
        if arguments.smoke:
            epochs = {"stock": 1, "tfae": 1}
        try:
            splits = [load(name, seed) for seed in range(seeds)]
        except ValueError as error:
            console.print(f"{name} is left out: {error}")
            continue
        if (architecture == "convolutional" and splits[0].kind != "image") or (
            loss_name == "bce" and splits[0].preprocessing.method != "unit"
        ):
            continue
        runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in epochs}
        for (seed, data), kind in itertools.product(enumerate(splits), epochs):
            runs[kind].append(train(kind, data, architecture, loss_name, epochs[kind], seed))
        losses, seconds = (np.array(runs["tfae"]) / np.array(runs["stock"])).T
        row = {"data": name, "model": architecture, "loss": loss_name, "epochs": epochs, "runs": runs}
        rows.append(row)
        table.add_row(
            name,
            architecture,
            loss_name,
            f"{epochs['tfae']} / {epochs['stock']}",
            f"{losses.mean():.4f} ({losses.min():.4f} – {losses.max():.4f})",
            f"{np.median(seconds):.2f} ({seconds.min():.2f} – {seconds.max():.2f})",
        )
        machine.write("schedule", {"machine": about, "smoke": arguments.smoke, "rows": rows})
    console.print(table)
    console.print("written to benchmarks/results/schedule.json")


if __name__ == "__main__":
    main()
