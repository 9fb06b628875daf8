"""Pictures of an autoencoder and its data.

Nothing is shown, saved or set globally. A plot without given Axes makes a figure with ``pyplot``, so that notebooks
show it. Plots of one Axes draw into given ones without ``pyplot``, and ``side_by_side`` makes a figure without it, so
that servers and reports leave none behind.
"""

from tfae.plots.curves import training_curves
from tfae.plots.generated import latent_grid, samples, traversals
from tfae.plots.latent_plane import latents
from tfae.plots.reconstruction_grid import reconstructions, side_by_side
from tfae.plots.scores import score_histogram, score_over_time, top_features
from tfae.plots.style import COLORS

__all__ = [
    "COLORS",
    "latent_grid",
    "latents",
    "reconstructions",
    "samples",
    "score_histogram",
    "score_over_time",
    "side_by_side",
    "top_features",
    "training_curves",
    "traversals",
]
