"""The exported model that comes with the repository."""

import json
from pathlib import Path

import numpy as np
import pytest

import tfae
from tfae.preprocessing import Preprocessing

VERSION = Path(__file__).parents[1] / "saved_models" / "digits" / "1"


@pytest.fixture(scope="module")
def description():
    return json.loads((VERSION / "assets.extra" / "tfae.json").read_text(encoding="utf-8"))


def test_it_is_small_good_and_has_the_signatures_of_the_contract(description):
    expected = {"serving_default", "encode", "decode", "score", "explain", "serve_tf_examples", "serve_image_bytes"}
    found = tfae.export.inspect(VERSION)
    assert set(found.signatures) == expected
    assert found.num_bytes < 800_000
    # The mean image of the training split, the best that a model without a latent can do, has an error of 0.074.
    assert description["metrics"]["mse"] < 0.02


def test_its_scores_are_those_in_its_description(description):
    data = tfae.datasets.load("digits", seed=description["data"]["seed"])
    model = tfae.export.load(VERSION)
    measured = description["metrics"]
    scores = model.score(data.raw.test)
    assert len(scores) == description["data"]["num_samples"]["test"] == measured["num_samples"]
    np.testing.assert_allclose(scores.mean(dtype="float64"), measured["loss"], rtol=1e-5)

    preprocessing = Preprocessing.from_config(description["preprocessing"])
    x = preprocessing(data.raw.test).numpy()
    errors = x - preprocessing(model.reconstruct(data.raw.test)).numpy()
    np.testing.assert_allclose(np.mean(errors**2), measured["mse"], rtol=1e-4)
    np.testing.assert_allclose(np.mean(np.abs(errors)), measured["mae"], rtol=1e-4)
