"""The data sets that scikit-learn carries, as a TFDS builder: real data without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn.datasets
import tensorflow_datasets as tfds

_DESCRIPTIONS = {
    "digits": "1,797 images of handwritten digits, 8×8 pixels with 17 levels of gray (0 to 16).",
    "breast_cancer": "569 breast masses, malignant or benign, by 30 features of their cell nuclei.",
    "wine": "178 wines of three cultivars by 13 chemical properties.",
    "diabetes": "442 patients by 10 features, with the progression of their disease after a year.",
}

#: The names under which ``load`` offers them.
NAMES = tuple(_DESCRIPTIONS)


class ScikitLearn(tfds.core.GeneratorBasedBuilder):
    """The bundled data sets of scikit-learn, one configuration each, in scikit-learn's order."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS declares it as a plain list)
        tfds.core.BuilderConfig(name=name, description=description) for name, description in _DESCRIPTIONS.items()
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        name = self.builder_config.name
        bunch = _bunch(name)
        if name == "digits":
            x, feature = "image", tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8)
            metadata: dict[str, Any] = {"value_range": [0, 16]}
        else:
            # As bytes: a tf.train.Example stores a float64 number in 32 bits.
            x, feature = "features", _exact_float64((len(bunch.feature_names),))
            metadata = {"feature_names": list(map(str, bunch.feature_names))}
        if "target_names" in bunch:
            label = tfds.features.ClassLabel(names=list(map(str, bunch.target_names)))
        else:
            label = _exact_float64(())
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTIONS[name],
            features=tfds.features.FeaturesDict({x: feature, "label": label}),
            supervised_keys=(x, "label"),
            metadata=tfds.core.MetadataDict(metadata),
            homepage="https://scikit-learn.org/stable/datasets/toy_dataset.html",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        bunch = _bunch(self.builder_config.name)
        if self.builder_config.name == "digits":
            x, samples = "image", bunch.images[..., np.newaxis].astype(np.uint8)
        else:
            x, samples = "features", bunch.data
        for index, (sample, label) in enumerate(zip(samples, bunch.target, strict=True)):
            yield index, {x: sample, "label": label}


def _bunch(name: str) -> Any:
    return getattr(sklearn.datasets, f"load_{name}")()


def _exact_float64(shape: tuple[int, ...]) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES)
