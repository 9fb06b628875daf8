"""Where the tests keep prepared data sets, where they find real ones, and what they leave out or set for a while."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# It sets up devices for all of its process, which tests/test_strategies.py starts.
collect_ignore = [] if "NUM_REPLICAS" in os.environ else ["on_two_devices.py"]


@pytest.fixture(scope="session", autouse=True)
def tfds_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder of prepared data sets for the whole session, never the user's own."""
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, which is not part of the project."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TFAE_DATA_DIR") or default)
    if not folder.is_dir():
        pytest.skip(f"there is no real data: neither TFAE_DATA_DIR nor {default} is a folder")
    return folder


@pytest.fixture(scope="module")
def without_pictures() -> Iterator[None]:
    """Trainings draw none: they would take half of the time, and are the matter of test_report.py and test_cli.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfae.report.draw_pictures", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def evaluation_of_the_same_once() -> Iterator[None]:
    """What trainings end in is evaluated once for the same weights and samples, which takes a third of the time."""
    from tfae.evaluation import evaluate as original

    known: dict[Any, Any] = {}

    def evaluate(autoencoder: Any, test: Any, *, train: Any, on_losses: Any, **options: Any) -> Any:
        arrays = [*autoencoder.get_weights(), *(x.numpy() for split in (test, train) for x, _ in split)]
        key = (tuple(array.tobytes() for array in arrays), str(options), autoencoder.loss.name)
        if key not in known:
            losses: list[Any] = []
            known[key] = original(autoencoder, test, train=train, on_losses=losses.append, **options), losses
        for batch in known[key][1]:
            on_losses(batch)
        return known[key][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfae.runs.fitting.evaluate", evaluate)
        yield


@pytest.fixture
def no_figure_left_behind() -> Iterator[None]:
    """Plots change no setting of matplotlib; what they leave in pyplot is closed."""
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    pyplot.close("all")


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    """Keras's policy of dtypes, which a test takes as an indirect parameter."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)
