"""The rules of the advice: from statistics to a loss, a preprocessing, and a sentence with the figure that decided."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tfae import losses
from tfae.activations import Clip
from tfae.advice.statistics import Statistics
from tfae.datasets.defects import percent

#: `Statistics.outlying_energy` of Student's t with 4 degrees of freedom. From tails as heavy as these on the median
#: estimates a centre more precisely than the mean: its relative efficiency 4 f(0)² σ² is 1.125, and 0.96 with 5.
HEAVY_TAILS = 0.319
#: Standard deviations of features in model space that optimizers and initial weights cope with.
USUAL_SCALES = (0.1, 10.0)
#: What the reasons cite, by how they cite it.
SOURCES = {
    "Bishop 2006": "Bishop, Pattern Recognition and Machine Learning, Springer, 2006",
    "Huber 1981": "Huber, Robust Statistics, Wiley, 1981, section 1.1",
    "LeCun et al. 1998": "LeCun, Bottou, Orr, Müller, Efficient BackProp, Springer, 1998, section 4.3",
    "Loaiza-Ganem & Cunningham 2019": "Loaiza-Ganem, Cunningham, The continuous Bernoulli: fixing a pervasive error in "
    "variational autoencoders, NeurIPS, 2019",
    "McCullagh & Nelder 1989": "McCullagh, Nelder, Generalized Linear Models, Chapman & Hall, 1989, chapter 6",
}


@dataclass(frozen=True)
class Choice:
    """Another loss that the data allows."""

    #: Its short name, as ``tfae.losses.get`` takes it.
    loss: str
    #: The preprocessing that goes with it.
    preprocessing: str
    #: Smallest loss per sample that any reconstruction can reach, in the unit of the loss; None where training tells.
    floor: float | None
    #: When to prefer it.
    when: str


def loss(s: Statistics) -> tuple[str, str]:
    """Return the short name of the loss and the reason for it: the first rule that applies."""
    likelihood = "cross-entropy is the negative log-likelihood of"
    far = "over 5 times as far from the median as a typical value"
    outliers = (
        f"the {percent(s.share_outlying)} of the values that are {far} make up {percent(s.outlying_energy)} of the sum "
        f"of all squared distances; from {percent(HEAVY_TAILS)} on, absolute error finds the centre more precisely"
    )
    if s.is_one_hot:
        return "cce", (
            f"one of {s.num_features:,} values along the last axis is 1 and the others are 0, and categorical "
            f"{likelihood} such (Bishop 2006, §4.3.4)"
        )
    if s.share_binary == 1 and s.unit_scale is not None:
        share = s.share_one if s.share_zero + s.share_one == 1 else None
        ones = "" if share is None else f", {percent(share)} of them 1"
        return "bce", f"every value is one of two{ones}, and {likelihood} such (Bishop 2006, §4.3.2)"
    if s.kind == "image" and s.entropy is not None:
        return "mse", (
            f"{percent(s.share_inside)} of the pixels are neither black nor white, and {likelihood} black "
            "and white only (Loaiza-Ganem & Cunningham 2019)"
        )
    if s.outlying_energy is not None and s.outlying_energy > HEAVY_TAILS:
        return "mae", f"outliers would rule squared error: {outliers} (Huber 1981)"
    if _are_counts(s):
        counts = f"all values are counts, whole numbers from {s.low:.4g} to {s.high:.4g}"
        if s.deviations is not None and s.deviations[1] <= USUAL_SCALES[1]:
            return "poisson", f"{counts}, whose noise grows with their mean (McCullagh & Nelder 1989)"
        return "mse", (
            f"{counts}: poisson is their likelihood, but takes them as they are, and with standard deviations above "
            f"{USUAL_SCALES[1]:g} a model has to scale them itself (McCullagh & Nelder 1989)"
        )
    if s.entropy is not None and s.share_inside > 0:
        return "mse", (
            f"{percent(s.share_inside)} of the values are neither 0 nor 1, and {likelihood} 0 and 1 "
            "only (Loaiza-Ganem & Cunningham 2019)"
        )
    if s.outlying_energy is not None:
        some = (
            f"outliers do not rule squared error: {outliers} (Huber 1981)" if s.share_outlying else f"no value is {far}"
        )
        return "mse", f"{some}; squared error is the negative log-likelihood of normal noise (Bishop 2006, §1.2.5)"
    return "mse", (
        f"{percent(s.share_sparse)} of the features take one value in over half of the samples, and absolute error "
        "would be content with that value, their median (Huber 1981)"
    )


def preprocessing(s: Statistics, loss: str, loaded: str) -> tuple[str, str]:
    """Return the preprocessing that goes with a loss, the one in use where that fits, and the reason for it."""
    if loss == "poisson":
        return "none", "counts are to stay as they are"
    if losses.get(loss).domain is not None and s.unit_scale is not None:
        return (
            s.unit_scale,
            f'cross-entropy is defined on [0, 1], which is where preprocessing "{s.unit_scale}" takes it',
        )
    usual = "unit" if s.kind == "image" else "standard"
    if s.model_deviations is None:
        return loaded, "no feature varies in the training split"
    least, greatest = s.model_deviations
    spread = f'with preprocessing "{loaded}" features have standard deviations from {least:.3g} to {greatest:.3g}'
    if len({f"{deviation:.3g}" for deviation in s.model_deviations}) == 1:
        spread = f'with preprocessing "{loaded}" features have a standard deviation of {least:.3g}'
    # The sum over elements weighs features by their squares, and Adam's steps are of one size (LeCun et al. 1998).
    if USUAL_SCALES[0] <= least and greatest <= USUAL_SCALES[1]:
        return loaded, f"{spread}; training works best near 1 (LeCun et al. 1998)"
    if loaded == usual == "unit":
        return loaded, f'{spread}; "unit" keeps them in [0, 1], where they can be shown'
    if loaded == usual:
        return loaded, f'{spread}; of the scalings, "{usual}" makes them most alike'
    return usual, f'{spread}; training works best near 1: use "{usual}" (LeCun et al. 1998)'


def output_activation(
    s: Statistics, loss: str, preprocessing: str, output_range: tuple[float, float] | None
) -> tuple[str | Clip, str]:
    """Return the activation of the model's last layer that goes with a loss, and the reason for it."""
    chosen = losses.get(loss)
    activation = chosen.output_activation(output_range)
    if isinstance(chosen, losses.BinaryCrossentropy):
        return activation, (
            "cross-entropy takes logits from a linear layer and applies the sigmoid itself: as a layer it rounds to 1 "
            "from a logit of 17 on, where the loss no longer sees how wrong that is"
        )
    if chosen.reads_link:
        reads = chosen.link.replace("_", " ")
        return activation, f"the loss takes {reads} from a linear layer, and makes the reconstructions of them itself"
    if activation == "linear":
        return activation, f'with preprocessing "{preprocessing}" new samples may have any value: the output is linear'
    ends = "" if s.entropy is None else f", and {percent(1 - s.share_inside)} of them lie at an end of their range"
    return activation, (
        f"pixels are bounded{ends}: a clipped output reaches the ends exactly, which a sigmoid never does and a linear "
        "output has to hit; its squared error is a quarter below a sigmoid's on digits, and level on mnist"
    )


def remarks(s: Statistics) -> list[str]:
    """Return what else a user should know, one sentence for each rule that applies."""
    found = []
    if s.nearly_constant:
        listed = ", ".join(s.nearly_constant[:5]) + (", …" if len(s.nearly_constant) > 5 else "")
        found.append(
            f"constant but for at most 1 % of the samples: {listed} ({len(s.nearly_constant)} of {s.num_features} "
            "features); scaled, those few samples weigh much: leave such features out unless they matter"
        )
    if s.share_constant:
        found.append(f"{percent(s.share_constant)} of the features are constant and teach nothing")
    if s.share_binary == 1 and s.unit_scale is None:
        found.append(
            "every value is one of two, but no preprocessing takes all splits to [0, 1], which cross-entropy needs: "
            "leave constant features out, or declare a value_range"
        )
    if 0 < s.share_binary < 1:
        found.append(f"{percent(s.share_binary)} of the features take two values only, the others do not")
    return found


def alternatives(
    s: Statistics, loss: str, preprocessing: str, loaded: str, floor_of: Callable[[str, str], float | None]
) -> tuple[Choice, ...]:
    """Return the other losses that fit the data, of all that are registered and say when to prefer them."""
    found = []
    scaled = loaded if loss == "poisson" else preprocessing
    for other in losses.registered():
        if other.advice is None or other.short_name == loss:
            continue
        if loss in ("bce", "cce") and other.known_constant == "median":
            continue  # The best reconstruction of two values is then the commoner one.
        scale = _scale_for(s, losses.get(other.short_name), scaled)
        if scale is not None and _FITS.get(other.short_name, lambda *_: True)(s, loss):
            found.append(Choice(other.short_name, scale, floor_of(other.short_name, scale), other.advice))
    return tuple(found)


def _are_counts(s: Statistics) -> bool:
    return s.share_counts == 1 and s.kind != "image"


#: What the statistics have to say for a loss to be named; by its short name. Others are where their domain is.
_FITS: dict[str, Callable[[Statistics, str], bool]] = {
    "gaussian": lambda s, loss: loss == "mse",
    "cb": lambda s, loss: s.share_inside > 0,
    "cce": lambda s, loss: s.is_one_hot,
    "poisson": lambda s, loss: _are_counts(s),
    "huber": lambda s, loss: loss == "mae",
}


def _scale_for(s: Statistics, loss: losses.ReconstructionLoss, preprocessing: str) -> str | None:
    """The preprocessing that takes the data to the domain of a loss, the given one where it has none; None if none."""
    if loss.domain is None:
        return preprocessing
    low, high = loss.domain
    if math.isinf(high):
        return "none" if s.low >= low else None
    return s.unit_scale if low <= 0 and high >= 1 and s.entropy is not None else None
