"""From a data set to a served autoencoder, with a reconstruction loss that means what it says.

The modules, in the order in which data flows through them:

    datasets ─▶ preprocessing ─▶ models + losses ─▶ training ─▶ evaluation, plots ─▶ export ─▶ serving
                                   ▲
                                 advice

Each is imported when it is first used, so that ``import tfae`` and ``tfae --help`` cost milliseconds.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

import lazy_loader
import wrapt

if TYPE_CHECKING:
    from tfae import activations as activations
    from tfae import advice as advice
    from tfae import checks as checks
    from tfae import comparison as comparison
    from tfae import datasets as datasets
    from tfae import evaluation as evaluation
    from tfae import export as export
    from tfae import losses as losses
    from tfae import models as models
    from tfae import plots as plots
    from tfae import preprocessing as preprocessing
    from tfae import runs as runs
    from tfae import serving as serving
    from tfae import training as training

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "activations",
        "advice",
        "checks",
        "comparison",
        "datasets",
        "evaluation",
        "export",
        "losses",
        "models",
        "plots",
        "preprocessing",
        "runs",
        "serving",
        "training",
    },
)


@wrapt.when_imported("keras")
def _register_with_keras(keras: ModuleType) -> None:
    """Let ``keras.models.load_model`` find the classes of tfae, whichever of the two is imported first."""
    for module in ("losses", "models", "preprocessing", "schedule"):
        importlib.import_module(f"{__name__}.{module}")
