"""What a training run leaves behind to look at: pictures, and a page that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfae import plots
from tfae.datasets import Data
from tfae.evaluation import Evaluation, scores
from tfae.losses import loss_of
from tfae.staging import write_staged

#: Samples in the picture of reconstructions.
NUM_PICTURED = 8


def draw_pictures(autoencoder: keras.Model, data: Data, history: dict[str, list[float]], folder: Path) -> None:
    """Write reconstructions, training curves, embedding and score histogram of the test split as PNG files.

    Args:
        autoencoder: The trained model.
        data: What it was trained on.
        history: Losses of every epoch by name, as ``fit`` returns them.
        folder: Where to write to.
    """
    loss = loss_of(autoencoder)
    samples = data.raw.test[:NUM_PICTURED]
    x = data.preprocessing(samples)
    output = autoencoder(x, training=False)
    figure = plots.reconstruction_figure(
        samples,
        data.preprocessing.inverse(loss.reconstruction(output)).numpy(),
        loss.per_sample(x, output).numpy(),
        value_range=data.value_range,
        score_name="loss",
        feature_names=data.feature_names,
    )
    _save(figure, folder / "reconstructions.png")

    figure, ax = _new_figure(6, 3.6)
    plots.training_curves(history, ax=ax)
    _save(figure, folder / "training_curves.png")

    if len(data.raw.test) > 1:  # One point has no plane.
        figure, ax = _new_figure(6, 5)
        labels = None if data.labels is None else data.labels.test
        plots.embedding(autoencoder, data.test, labels=labels, ax=ax)
        _save(figure, folder / "embedding.png")

    figure, ax = _new_figure(6, 3.6)
    unit = f", {loss.unit}" if loss.unit else ""
    plots.score_histogram(scores(autoencoder, data.test), score_name=f"loss per sample{unit}", ax=ax)
    _save(figure, folder / "score_histogram.png")


def write_page(
    path: Path, config: dict[str, Any], history: dict[str, list[float]], measures: Evaluation, pictures: Path
) -> None:
    """Write the report of a run as Markdown.

    Args:
        path: The file.
        config: What ``config.json`` holds.
        history: Losses of every epoch by name.
        measures: Of the test split.
        pictures: Folder of the pictures, beside the file.
    """
    data, model, loss = config["data"], config["model"], config["loss"]
    sizes = ", ".join(f"{number:,} for {split}" for split, number in data["num_samples"].items())
    best = int(np.argmin(history["val_loss"]))
    epochs = f"{len(history['loss'])} of at most {config['epochs']} epochs"
    titles = {
        "reconstructions": "Originals, reconstructions and where they differ",
        "training_curves": "Training and validation loss by epoch",
        "embedding": "Codes of the test samples",
        "score_histogram": "Distribution of the losses of the test samples",
    }
    images = [
        f"![{title}]({pictures.name}/{name}.png)"
        for name, title in titles.items()
        if (pictures / f"{name}.png").exists()
    ]
    page = f"""# {model["name"]} on {data["name"]}

{config["created"]}, {", ".join(f"{name} {version}" for name, version in config["versions"].items())}

- Data: {data["name"]}, {data["kind"]}, samples of shape {tuple(data["shape"])}; {sizes}; seed {data["seed"]}.
- Preprocessing: {data["preprocessing"]}.
- Model: {model["parameters"]:,} parameters, latent_dim {model["latent_dim"]}.
- Loss: {loss["class_name"]}, {loss["sample_reduction"]} over the elements of a sample.
- Training: {config["optimizer"]["class_name"]}, {epochs}; the best is epoch {best + 1}, with a validation loss of
  {history["val_loss"][best]:.5g}.

On the test split:

```
{measures}
```

"""
    write_staged(path, page + "\n".join(images) + "\n")


def _new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    # Without pyplot, which would keep the figure alive behind the caller's back.
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, path: Path) -> None:
    write_staged(path, lambda partial: figure.savefig(partial, dpi=150))
