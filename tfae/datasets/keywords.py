"""Options of a dataclass as the keyword arguments of a function."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

_Options = ParamSpec("_Options")
_Result = TypeVar("_Result")


def takes(
    options: Callable[_Options, Any],
) -> Callable[[Callable[[Any, Any], _Result]], Callable[Concatenate[Any, _Options], _Result]]:
    """Have a function of a source and options take these as keyword arguments, in its signature and docstring too."""

    def decorate(function: Callable[[Any, Any], _Result]) -> Callable[Concatenate[Any, _Options], _Result]:
        @functools.wraps(function)
        def take(source: Any, *args: _Options.args, **kwargs: _Options.kwargs) -> _Result:
            try:
                signature.bind(source, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}(): {error}") from None
            return function(source, options(*args, **kwargs))

        source, _ = inspect.signature(function).parameters.values()
        keywords = inspect.signature(options).parameters.values()
        signature = inspect.signature(function).replace(parameters=[source, *keywords])
        take.__signature__ = signature  # type: ignore[attr-defined]
        fields = (f"    {each.name}: {each.metadata['help']}" for each in dataclasses.fields(options))  # type: ignore[arg-type]
        take.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Options:", *fields])
        return take

    return decorate
