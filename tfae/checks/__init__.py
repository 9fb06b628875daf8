"""Whether data, loss and model fit together, before time is spent on a training that can not succeed.

Each check finds one mistake that trains without an error and spoils the result, and has a name by which to silence it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Union

import keras
import numpy as np

from tfae.checks import remedies
from tfae.checks.layers import GROWING, find_penalties, layers_of, mask_values, output_of, penalty_weights
from tfae.checks.remedies import as_activation, as_options
from tfae.losses import ReconstructionLoss, TableLoss, explain_invalid, is_within
from tfae.models.structure import sample_shape_of
from tfae.preprocessing import RANGES

#: Training samples on which a check looks at values.
_TRIED = 1024

#: How far samples may be from what a softmax, or a normalization, can put out: rounding, smoothing, and its epsilon.
_TIED_TOLERANCE = 1e-2

_Samples = Union["Data", tuple[float, float], None]

if TYPE_CHECKING:
    from tfae.datasets import Data


def check(data: _Samples, loss: Any, model: keras.Model, *, ignore: Collection[str] = ()) -> None:
    """Raise ValueError if data, loss and model do not fit together.

    The checks, by name:

    - ``"loss"``: the loss is not one of :mod:`tfae.losses`. The checks below need one; so do ``train``, ``evaluate``
      and ``save``, which therefore refuse others whether or not this is ignored.
    - ``"domain"``: data outside ``loss.domain``, such as outside [0, 1] under cross-entropy, which has no lower bound
      there, so that being wrong lowers the loss.
    - ``"columns"``: a table with categories, yes and no, or gaps, under a loss that is none of
      :class:`tfae.losses.TableLoss`, or before a model that does not take gaps.
    - ``"range"``: the output activation keeps the reconstructions away from values that the training split has, as a
      sigmoid does where data is negative.
    - ``"activation"``: the model's output can leave ``loss.domain``, such as [0, 1] where probabilities are read.
    - ``"logits"``: the loss reads logits, and the model ends in a sigmoid.
    - ``"tied"``: the last layer ties the elements of a sample together, such as a softmax, under which they sum to 1,
      or a normalization of each sample, and those of the data are not.
    - ``"masking"``: the model has layers that mask padding, ``Masking`` or ``Embedding(mask_zero=True)``, of which
      scaling makes another value than the one that they mask.
    - ``"penalty"``: a layer adds a penalty that grows with the size of the batch, of which the loss is a mean. Keras
      sums what ``add_loss`` is given.
    - ``"reduction"``: a mean over elements together with a penalty that layers add, such as a KL divergence or an L1
      norm of the latent. Beside a mean over n elements it weighs n times what it weighs beside their sum.

    ``"constant"`` is of :meth:`tfae.runs.Run.export`: the evaluation found no more skill than one constant has.

    Where a model's output activation can not be known, as behind a layer of one's own, it is taken to be right.

    Args:
        data: What the model is to be trained on, or the least and the greatest value of the training split in model
            space for the check "range" alone, or None to check loss and model alone.
        loss: What it is to minimise.
        model: Any Keras model.
        ignore: Names of checks to leave out.

    Raises:
        ValueError: If a check fails, with the message of each that does; or if there is no check of a name.

    Example:
        >>> import tfae
        >>> model = tfae.models.dense((8, 8, 1), latent_dim=4, output_activation="sigmoid")
        >>> check(None, tfae.losses.BinaryCrossentropy(), model)
        >>> check(None, tfae.losses.BinaryCrossentropy(from_logits=True), model, ignore=["logits"])
    """
    names = {ignore} if isinstance(ignore, str) else set(ignore)
    if not names <= set(NAMES):
        raise ValueError(
            f"ignore: expected names of checks, which are {', '.join(NAMES)}; received "
            f"{', '.join(sorted(map(repr, names - set(NAMES))))}."
        )
    checks = _CHECKS if isinstance(loss, ReconstructionLoss) else {"loss": _loss}
    if data is None or isinstance(data, tuple):
        names |= _OF_DATA
    failed = {name: of(data, loss, model) for name, of in checks.items() if name not in names}
    silence = 'To go on all the same, silence this with ignore=["{0}"].'
    messages = [f"{message} {silence.format(name)}" for name, message in failed.items() if message]
    if messages:
        raise ValueError("\n".join(messages))


def _loss(data: _Samples, loss: Any, model: keras.Model) -> str | None:
    reason = explain_invalid(loss)
    return reason and f"loss: {reason}"


def _domain(data: Data, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    if loss.domain is None:
        return None
    for split in data.bounds._fields:
        low, high = _span(data, split)
        if not is_within((low, high), loss.domain):
            return (
                f"loss: {type(loss).__name__} is defined on {list(loss.domain)}; the {split} split spans "
                f'[{low:.4g}, {high:.4g}] after preprocessing "{data.preprocessing.method}". '
                f"{remedies.outside_domain(loss, data)}"
            )
    if data.preprocessing.is_mixed:  # It wants another loss anyway.
        return None
    reason = loss.explain_undefined(data.preprocessing(data.raw.train[:_TRIED]).numpy())
    return reason and (
        f"loss: {type(loss).__name__} is not defined on the training split after preprocessing "
        f'"{data.preprocessing.method}": {reason}'
    )


def _columns(data: Data, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    if not data.preprocessing.is_mixed:
        return None
    if not isinstance(loss, TableLoss):
        return (
            f"loss: expected one per kind of column, for the table has categories, yes and no, or gaps; received "
            f"{loss!r}. Use tfae.losses.for_table({loss!r}, data.preprocessing)."
        )
    x = data.preprocessing(data.raw.train[:_TRIED])
    if np.isnan(x).any() and not np.isfinite(model(x, training=False)).all():
        return (
            "model: expected one that takes gaps, which are NaN; received one whose output is not finite. Begin it "
            "with data.fill_gaps(), or give tfae.models.dense(..., input_layer=data.fill_gaps())."
        )
    return None


def _range(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    output = None if isinstance(loss, TableLoss) else output_of(model)
    if data is None or output is None or _logits(None, loss, model):
        return None
    # The test split of a table may lie a little outside of what the training split is scaled to; that is no mistake.
    low, high = data if isinstance(data, tuple) else _span(data, "train")
    reachable = output.reachable(loss, model.output_shape[-1])
    # What is outside the domain of the loss is another check's business.
    least, greatest = (low, high) if loss.domain is None else np.clip((low, high), *loss.domain)
    if is_within((least, greatest), reachable):
        return None
    known = None if isinstance(data, tuple) else data
    method, output_range = (known.preprocessing.method, known.output_range) if known else (None, None)
    scaling = f'after preprocessing "{method}"' if method else "in model space"
    better = next((name for name, ends in RANGES.items() if ends == (output.low, output.high)), None)
    return (
        f"model: expected one whose reconstructions reach the training split, which spans {_interval(low, high)} "
        f"{scaling}; received one that ends in {output.name}, which keeps them in {_interval(*reachable)}. End it in "
        f"{as_activation(loss.output_activation(output_range))}"
        + (f", or use {as_options(preprocessing=better)}." if better and better != method else ".")
    )


def _activation(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    output = output_of(model)
    if isinstance(loss, TableLoss) and output is not None and math.isfinite(output.low + output.high):
        return f"model: expected one that ends in linear, as the columns of a table ask for; received {output.name}."
    if output is None or loss.domain is None or loss.reads_link:
        return None
    if is_within((output.low, output.high), loss.domain):
        return None
    return (
        f"model: expected one whose output stays in {_interval(*loss.domain)}, where {loss!r} is defined; received one "
        f"that ends in {output.name}, whose output spans {_interval(output.low, output.high)}. {remedies.ending(loss)}"
    )


def _logits(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    output = None if isinstance(loss, TableLoss) else output_of(model)
    if output is None or not loss.reads_link:
        return None
    if not is_within((output.low, output.high), loss.domain):
        return None
    return (
        f"model: expected one that ends in {loss.output_activation()}, because {loss!r} reads its output as "
        f"{loss.link.replace('_', ' ')}; received one that ends in {output.name}, which read so keeps reconstructions "
        f"in {_interval(*output.reachable(loss, model.output_shape[-1]))}. End the model in "
        f"{as_activation(loss.output_activation())}, or use {loss.on_reconstructions()!r}."
    )


def _reduction(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    if loss.sample_reduction == "sum" or not find_penalties(model, _shape_of(data)):
        return None
    sides = _shape_of(data) or sample_shape_of(model) or ()
    num_elements = math.prod([side or 1 for side in sides])
    weights = [
        f"{name}={weight:.4g} in layer {layer.name!r} becomes {weight / num_elements:.4g}"
        for layer in layers_of(model)
        for name, weight in penalty_weights(layer).items()
    ]
    return (
        'loss: expected sample_reduction="sum" beside the penalty that layers of the model add; received "mean", '
        f"beside which a penalty weighs {num_elements:,} times as much, once for each element of a sample. Use "
        f"{as_options(sample_reduction='sum')}, or divide the weight by {num_elements:,}"
        + (f" ({', '.join(weights)})" if weights else "")
        + ", unless you chose it for the mean, and ignore the check."
    )


def _tied(data: Data, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    output = output_of(model)
    if output is None or output.project is None or _logits(None, loss, model):
        return None
    moved = output.moves(data.preprocessing(data.raw.train[:_TRIED]).numpy())
    if moved < _TIED_TOLERANCE:
        return None
    return (
        f"model: expected one whose elements are as independent as those of the data; received one that ends in "
        f"{output.name}, which ties those of a sample together, so that they have one sum or one norm. What comes out "
        f"of it differs from training samples by up to {moved:.3g}. End it in "
        f"{as_activation(loss.output_activation(data.output_range))}."
    )


def _masking(data: Data, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    values = [] if data.preprocessing.is_mixed else mask_values(model, data.kind)
    if not values:
        return None
    # Sequences are padded at an end: values in between may be data.
    raw = data.raw.train[:_TRIED].reshape(-1, data.shape[0], math.prod(data.shape[1:]))[:, [0, -1]]
    scaled = data.preprocessing(data.raw.train[:_TRIED]).numpy().reshape(-1, data.shape[0], raw.shape[-1])[:, [0, -1]]
    for value in values:
        if (scaled == np.float32(value)).all(axis=-1).any():
            continue
        for padding in (value, 0.0):
            padded = scaled[(raw == padding).all(axis=-1)]
            if not len(padded):
                continue
            low, high = float(padded.min()), float(padded.max())
            is_one, is_table = low == high, data.kind == "table"
            made = f"{low:.4g}" + ("" if is_one else f" to {high:.4g}")
            return (
                f"model: expected padding that arrives as the value that the model masks, {value:g}; received training "
                f'samples padded with {padding:g}, of which preprocessing "{data.preprocessing.method}" makes {made}. '
                + ("Load indices" if is_table else "Scale before you pad, pad with that value, and load the data")
                + f" with {as_options(preprocessing='none')}"
                + (f", or use keras.layers.Masking({low!r})." if is_one and not is_table else ".")
            )
    return None


def _penalty(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    growing = [name for name, growth in find_penalties(model, _shape_of(data)).items() if growth > GROWING]
    if not growing:
        return None
    return (
        f"model: expected penalties that are a mean over the batch, as the loss is; received one that grows with the "
        f"size of the batch, of layer {growing[0]!r}. Keras sums what add_loss is given: give it "
        "keras.ops.mean(penalty) of the penalties of the samples, (batch,). Before Keras 3.14 an activity regularizer "
        "grows, too: take tfae.models.Sparse."
    )


def _shape_of(data: _Samples) -> tuple[int, ...] | None:
    return None if data is None or isinstance(data, tuple) else data.shape


#: In the order in which they are reported.
_CHECKS: dict[str, Callable[[Any, Any, keras.Model], str | None]] = {
    "loss": _loss,
    "domain": _domain,
    "columns": _columns,
    "range": _range,
    "activation": _activation,
    "logits": _logits,
    "tied": _tied,
    "masking": _masking,
    "penalty": _penalty,
    "reduction": _reduction,
}

#: Those that ask for data, and not for its span alone.
_OF_DATA = {"domain", "columns", "tied", "masking"}

#: What ``ignore`` may hold.
NAMES = (*_CHECKS, "constant")


def _span(data: Data, split: str) -> tuple[float, float]:
    """The least and the greatest value of a split, in model space."""
    # The scaling is monotone in every element, so that the bounds of the data give those in model space.
    scaled = data.preprocessing(getattr(data.bounds, split)).numpy()
    return float(scaled.min()), float(scaled.max())


def _interval(low: float, high: float) -> str:
    return f"{'[' if math.isfinite(low) else '('}{low:.4g}, {high:.4g}{']' if math.isfinite(high) else ')'}"
