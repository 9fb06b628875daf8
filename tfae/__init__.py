"""From a data set to a served autoencoder, with a reconstruction loss that means what it says.

The modules, in the order in which data flows through them:

    datasets ─▶ preprocessing ─▶ models + losses ─▶ training ─▶ evaluation, plots ─▶ detection ─▶ export ─▶ serving
                                   ▲
                                 advice

Each is imported when it is first used, so that ``import tfae`` and ``tfae --help`` cost milliseconds.
"""

import importlib
import importlib.abc
import json
import os
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import lazy_loader
import wrapt

if TYPE_CHECKING:
    from tfae import activations as activations
    from tfae import advice as advice
    from tfae import checks as checks
    from tfae import comparison as comparison
    from tfae import datasets as datasets
    from tfae import detection as detection
    from tfae import evaluation as evaluation
    from tfae import export as export
    from tfae import losses as losses
    from tfae import models as models
    from tfae import plots as plots
    from tfae import preprocessing as preprocessing
    from tfae import runs as runs
    from tfae import serving as serving
    from tfae import sklearn as sklearn
    from tfae import training as training

__version__ = "0.2.0"

_import, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "activations",
        "advice",
        "checks",
        "comparison",
        "datasets",
        "detection",
        "evaluation",
        "export",
        "losses",
        "models",
        "plots",
        "preprocessing",
        "runs",
        "serving",
        "sklearn",
        "training",
    },
)


def __getattr__(name: str) -> Any:
    """Import a module, and leave Python's random numbers as they were, of which the import of TensorFlow takes some."""
    state = random.getstate()
    try:
        return _import(name)
    finally:
        random.setstate(state)


class _TensorFlowFirst(importlib.abc.MetaPathFinder):
    """Finds nothing, but says what to set where a module is imported that needs Keras on TensorFlow, and gets another.

    The client and the local server do not need Keras.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        package, _, module = name.partition(".")
        if (
            package == __name__
            and module in __all__
            and module != "serving"
            and (backend := _backend()) != "tensorflow"
        ):
            raise ImportError(
                f"{name}: expected Keras to run on TensorFlow; received the backend {backend!r}. Set the environment "
                "variable KERAS_BACKEND=tensorflow before Keras is imported."
            )


def _backend() -> str:
    """What Keras runs on, or will when it is imported."""
    if "keras" in sys.modules:
        return sys.modules["keras"].config.backend()
    try:
        settings = Path(os.environ.get("KERAS_HOME") or "~/.keras", "keras.json").expanduser()
        configured = json.loads(settings.read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        configured = "tensorflow"
    return os.environ.get("KERAS_BACKEND") or configured


sys.meta_path.insert(0, _TensorFlowFirst())


@wrapt.when_imported("keras")
def _register_with_keras(keras: ModuleType) -> None:
    """Let ``keras.models.load_model`` find the classes of tfae, whichever of the two is imported first."""
    if keras.config.backend() != "tensorflow":  # It is not for tfae then.
        return
    for module in ("losses", "models", "preprocessing", "schedule"):
        importlib.import_module(f"{__name__}.{module}")
