"""A loss of one's own, ten lines in a module of one's own, goes wherever the losses of the package go."""

import json
import re
import sys

import keras
import numpy as np
import pytest
import scipy.optimize

from tests.commands import run
from tests.samples import normal
from tfae import activations, advice, comparison, datasets, export, losses
from tfae.losses import ReconstructionLoss, registry
from tfae.serving import LocalServer

MODULE = '''
import math

from keras import ops
from tfae import losses


@losses.register
class LogCosh(losses.ReconstructionLoss):
    """About squared where errors are small, and absolute where they are large, without a seam."""

    advice = "where outliers are to weigh less, and small errors as they do under squared error"

    def elementwise(self, x, output):
        error = ops.abs(output - x)
        return error + ops.softplus(-2 * error) - math.log(2)
'''
SMALL = ("--epochs", 1, "--latent-dim", 2, "--widths", 8, "--ignore", "constant")


def log_cosh(error):
    return np.logaddexp(error, -error) - np.log(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, without_pictures):
    """A working directory with the module, data, and what ``tfae train`` makes of them."""
    path = tmp_path_factory.mktemp("own")
    (path / "own_losses.py").write_text(MODULE)
    np.save(path / "x.npy", normal(200, 4) ** 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr("sys.path", ["", *sys.path])
        patch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
        run("--import", "own_losses", "train", "x.npy", "--loss", "log_cosh", "--run-dir", "run", *SMALL)
        yield path


def test_it_is_evaluated_with_all_baselines(folder):
    data = datasets.load("x.npy")
    train, test = (data.preprocessing(split).numpy().astype("float64") for split in (data.raw.train, data.raw.test))
    best = [scipy.optimize.minimize_scalar(lambda c, x=x: log_cosh(x - c).sum()).x for x in train.T]
    expected = log_cosh(test - best).sum(axis=1).mean()
    measured = json.loads((folder / "run" / "evaluation.json").read_text())
    assert measured["constant_loss"] == pytest.approx(expected, rel=1e-5)
    assert (measured["loss_name"], measured["floor"]) == ("log_cosh", 0)
    assert None not in [measured[name] for name in ("constant_skill", "linear_loss", "linear_skill", "triviality")]
    assert "LogCosh, sum over the elements of a sample" in (folder / "run" / "report.html").read_text()


def test_it_is_exported_and_served(folder):
    x = normal(20, 4, seed=1) ** 3
    (path,) = (folder / "saved_models").glob("[!.]*")
    exported = export.load(path)
    model = keras.models.load_model(folder / "run" / "model.keras")
    scaled = datasets.load("x.npy").preprocessing(x).numpy()
    expected = log_cosh(scaled - model.predict(scaled, verbose=0))
    with LocalServer(path) as server, server.client() as client:
        for score, explain in ((exported.score, exported.explain), (client.score, client.explain)):
            np.testing.assert_allclose(score(x), expected.sum(axis=1), rtol=1e-4)
            np.testing.assert_allclose(explain(x)["feature_score"], expected, rtol=1e-3, atol=1e-6)


def test_it_is_advised_and_compared(folder):
    data = datasets.load("x.npy")
    assert [choice.loss for choice in advice.advise(data).alternatives] == ["mse", "huber", "log_cosh"]
    printed = run("--import", "own_losses", "advise", "x.npy").stdout
    assert "log_cosh, with preprocessing standard; floor 0: where outliers are to weigh less, and small" in printed
    found = comparison.compare(data, ["log_cosh", "mae"], run_dir="both", seeds=1, epochs=1, verbose=False)
    assert [row.loss for row in found.rows] == ["log_cosh", "absolute_error"]
    run("--import", "own_losses", "compare", "x.npy", "--loss", "log_cosh", "--seeds", 1, "--run-dir", "one", *SMALL)
    assert [row.loss for row in comparison.load_comparison("one").rows] == ["log_cosh"]


def test_mistakes_in_a_loss_or_its_name_are_named(folder, monkeypatch):
    refused = run("--import", "no_such_losses", "advise", "x.npy", code=2).stderr
    assert re.search(
        r"--import: expected a module .* received no_such_losses \(ModuleNotFoundError: No module named", refused
    )

    class Scalar(ReconstructionLoss):
        def elementwise(self, x, output):
            return keras.ops.sum(output - x, axis=1)

    with pytest.raises(ValueError, match=r"Scalar\.elementwise and y_true: expected equal shapes; received \(2,\)"):
        Scalar()([[1.0], [2.0]], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="LogCosh: expected a new name; received 'log_cosh', which LogCosh has"):
        losses.register(type("LogCosh", (Scalar,), {}))
    with pytest.raises(ValueError, match=r"register: expected a subclass of ReconstructionLoss.*received 'log_cosh'"):
        losses.register("log_cosh")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "own_losses>LogCosh")
    monkeypatch.setitem(sys.modules, "own_losses", None)  # In which Keras 3.8 looks, too.
    assert (
        "LogCosh is unknown: put @keras.saving.register_keras_serializable() above it, and import its module"
        in run("evaluate", "run", code=2).stderr
    )


def test_a_domain_bounds_the_outputs():
    loss = type("Bounded", (ReconstructionLoss,), {"domain": (0, 2), "elementwise": lambda self, x, output: x})()
    assert loss.output_activation() == activations.Clip(0, 2)
