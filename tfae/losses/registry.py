"""The losses by name: those of this package, and those that users register."""

from __future__ import annotations

from typing import Any, TypeVar

import keras

from tfae.losses.reconstruction_loss import ReconstructionLoss

_Loss = TypeVar("_Loss", bound=type[ReconstructionLoss])

#: By ``long_name``, in the order of registration.
_REGISTERED: dict[str, type[ReconstructionLoss]] = {}


def register(loss: _Loss) -> _Loss:
    """Make a class of losses known by name, to :func:`get`, advice, comparisons, the command line and Keras.

    Keras saves models with it as ``"<package>><class>"``, where package is the first part of the module's name.

    It is a subclass of :class:`ReconstructionLoss` whose arguments all have defaults, and is returned, so that
    ``register`` is a decorator. ValueError if it is none, or another class has one of the names.
    """
    try:
        loss(**loss.config_by_name)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"register: expected a subclass of ReconstructionLoss that has elementwise, and defaults for all of its "
            f"arguments; received {loss!r} ({error})."
        ) from error
    for name in (loss.long_name, loss.short_name):
        other = find(name)
        # The same class is defined again where its module is reloaded, or its cell of a notebook is run again.
        if other and (other.__module__, other.__qualname__) != (loss.__module__, loss.__qualname__):
            raise ValueError(f"{loss.__name__}: expected a new name; received {name!r}, which {other.__name__} has.")
    _REGISTERED[loss.long_name] = loss
    return keras.saving.register_keras_serializable(package=loss.__module__.partition(".")[0])(loss)


def registered() -> tuple[type[ReconstructionLoss], ...]:
    """Return all registered classes, those of this package first."""
    return tuple(_REGISTERED.values())


def find(name: str) -> type[ReconstructionLoss] | None:
    """Return the class of that long or short name; None if there is none."""
    return next((loss for loss in registered() if name in (loss.long_name, loss.short_name)), None)


def get(name: str, **config: Any) -> ReconstructionLoss:
    """Build the loss of that name.

    Args:
        name: ``"squared_error"`` or ``"mse"``, ``"absolute_error"`` or ``"mae"``, ``"binary_crossentropy"`` or
            ``"bce"``, ``"gaussian_nll"`` or ``"gaussian"``, ``"continuous_bernoulli"`` or ``"cb"``,
            ``"categorical_crossentropy"`` or ``"cce"``, ``"poisson"``, ``"huber"``, or a name that was registered.
        **config: Arguments of the loss. By name, those that can read logits do unless ``from_logits=False`` is given.

    Raises:
        ValueError: If there is no such loss, or it has no such argument.

    Example:
        >>> get("mae", sample_reduction="mean").sample_reduction
        'mean'
        >>> get("bce").from_logits
        True
    """
    loss = find(name)
    if loss is None:
        names = [f"{each.long_name} ({each.short_name})" for each in registered()]
        raise ValueError(
            f"loss: expected {', '.join(names[:-1])} or {names[-1]}; received {name!r}. Losses of your own are known "
            "by name once their class is decorated with tfae.losses.register and its module is imported."
        )
    try:
        return loss(**{**loss.config_by_name, **config})
    except TypeError as error:
        raise ValueError(f"{name}: expected arguments of {loss.__name__}; received {config} ({error}).") from error


def get_loss(autoencoder: keras.Model) -> ReconstructionLoss:
    """Return the reconstruction loss that a model is compiled with; ValueError if it has another kind or none."""
    loss = getattr(autoencoder, "loss", None)
    if not isinstance(loss, ReconstructionLoss):
        raise ValueError(f"autoencoder: {explain_invalid(loss)}")
    return loss


def explain_invalid(loss: Any) -> str | None:
    """Explain why what a model is compiled with is no reconstruction loss, and which one to use; None if it is one.

    Example:
        >>> print(explain_invalid("mse"))
        expected a model compiled with a loss of tfae.losses; received loss='mse'. Keras's own losses average over the \
elements of a sample: call autoencoder.compile(optimizer, loss=tfae.losses.SquaredError()).
    """
    if isinstance(loss, ReconstructionLoss):
        return None
    if isinstance(loss, dict | list | tuple) and len(loss) > 1:
        output = next(iter(loss), "NAME") if isinstance(loss, dict) else "NAME"
        return (
            f"expected a model with one output and a loss of tfae.losses; received {len(loss)} losses, one for each "
            f"output. Take the autoencoder out of it with tfae.models.select_output(autoencoder, {output!r})."
        )
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    counterpart = f"tfae.losses.{registered()[0]()!r}, or another of tfae.losses"
    for each in registered():
        names = (each.short_name, each.long_name, f"mean_{each.long_name}")  # As Keras calls its own.
        if name.replace("_", "").lower() in (known.replace("_", "") for known in names):
            module = "tfae.losses." if each.__module__.startswith("tfae.losses.") else ""
            argument = f"from_{each.link}"  # Keras's losses read reconstructions unless they say otherwise.
            config: dict[str, Any] = {argument: getattr(loss, argument, False)} if hasattr(each(), argument) else {}
            counterpart = f"{module}{each(**config)!r}"
    return (
        f"expected a model compiled with a loss of tfae.losses; received loss={loss!r}. Keras's own losses average "
        f"over the elements of a sample: call autoencoder.compile(optimizer, loss={counterpart})."
    )
