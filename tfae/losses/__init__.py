"""Reconstruction losses: how far a reconstruction x̂ is from its sample x.

Each loss sums an elementwise term over the elements j of a sample and averages over the N samples of a batch:

    loss = (1/N) Σᵢ Σⱼ elementwise(xᵢⱼ, x̂ᵢⱼ)

Keras's built-in losses average over j as well, which divides the gradient by the number of elements and thereby changes
the weight against every other term (a KL divergence, an L1 penalty on the latent). With ``sample_reduction="mean"`` the
losses here do the same, for those who want a number per element.

A loss of your own is a subclass of :class:`ReconstructionLoss` with an ``elementwise`` term; :func:`register` makes it
known by name.
"""

from tfae.losses.absolute_error import AbsoluteError
from tfae.losses.binary_crossentropy import BinaryCrossentropy
from tfae.losses.categorical_crossentropy import CategoricalCrossentropy
from tfae.losses.continuous_bernoulli import ContinuousBernoulli
from tfae.losses.domain import DOMAIN_TOLERANCE, is_within
from tfae.losses.gaussian_nll import GaussianNLL
from tfae.losses.huber import Huber
from tfae.losses.loss_parts import LossMetric, LossPart
from tfae.losses.poisson import Poisson
from tfae.losses.reconstruction_loss import ReconstructionLoss
from tfae.losses.registry import explain_invalid, find, get, get_loss, register, registered
from tfae.losses.shapes import mask_of
from tfae.losses.squared_error import SquaredError
from tfae.losses.table_loss import TableLoss, for_table

__all__ = [
    "DOMAIN_TOLERANCE",
    "AbsoluteError",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "ContinuousBernoulli",
    "GaussianNLL",
    "Huber",
    "LossMetric",
    "LossPart",
    "Poisson",
    "ReconstructionLoss",
    "SquaredError",
    "TableLoss",
    "explain_invalid",
    "find",
    "for_table",
    "get",
    "get_loss",
    "is_within",
    "mask_of",
    "register",
    "registered",
]

# In the order in which they are listed.
for _loss in (
    SquaredError,
    AbsoluteError,
    BinaryCrossentropy,
    GaussianNLL,
    ContinuousBernoulli,
    CategoricalCrossentropy,
    Poisson,
    Huber,
):
    register(_loss)
