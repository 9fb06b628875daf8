"""Pictures of an autoencoder and its data: Axes in, Axes out.

Nothing is shown, saved or set globally. A plot without given Axes makes a figure with ``pyplot``, so that notebooks
show it; given Axes are drawn into without ``pyplot``, so that servers and reports leave no figure behind.
"""

from tfae.plots.curves import training_curves
from tfae.plots.labels import COLORS
from tfae.plots.points import embedding
from tfae.plots.reconstruction_grid import reconstruction_figure, reconstructions
from tfae.plots.score_distribution import score_histogram

__all__ = [
    "COLORS",
    "embedding",
    "reconstruction_figure",
    "reconstructions",
    "score_histogram",
    "training_curves",
]
