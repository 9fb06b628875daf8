"""Where a server learns which models it shall hold: a folder, a model config file, or whoever starts it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tfae.serving.local.config import ModelConfig, VersionPolicy, read_model_config_file

#: Says, each time it is asked, which models are wanted.
Source = Callable[[], Sequence[ModelConfig]]


def source(
    models: str | os.PathLike[str] | Sequence[ModelConfig] | Source,
    *,
    name: str | None = None,
    labels: Mapping[str, int] | None = None,
) -> Source:
    """What says, each time it is asked, which models are wanted.

    Args:
        models: Folder of a model's versions, model config file, the configs themselves, or already such a source.
        name: What clients call the model, for a folder; its own name by default.
        labels: Numbers of versions by label, for a folder.

    Raises:
        ValueError: If there is no such folder or file, or it is another one.
    """
    if callable(models):
        return models
    if not isinstance(models, (str, os.PathLike)):
        configs = list(models)
        if not configs:
            raise ValueError("models: expected at least one model; received none.")
    else:
        path = Path(models)
        if path.is_file():
            if name is not None or labels:
                raise ValueError(f"name, labels: expected none beside a model config file; received {path} and them.")
            return lambda: read_model_config_file(path)
        configs = [_folder(path, name, labels or {})]
    return lambda: configs


def _folder(path: Path, name: str | None, labels: Mapping[str, int]) -> ModelConfig:
    """The model in a folder: its newest version, or those that have labels if any have."""
    if not path.is_dir():
        raise ValueError(
            f"models: expected a folder with a model's versions, or a model config file; received {path}, which is "
            "not there. `tfae export` writes such a folder."
        )
    if (path / "saved_model.pb").exists():
        raise ValueError(
            f"models: expected the folder of a model's versions; received one version, {path}. Take {path.parent}."
        )
    name = path.resolve().name if name is None else name
    if not name or set(name) & set("/:"):
        raise ValueError(f"name: expected a name without / and : that fits into a URL; received {name!r}.")
    # As `tfae deploy` has it: who names versions wants these, and no new one before somebody says so.
    policy = VersionPolicy(latest=None, specific=frozenset(labels.values())) if labels else VersionPolicy()
    return ModelConfig(name, path, policy, dict(labels))
