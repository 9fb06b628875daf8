"""The models of a server, from a folder or from a config file of TensorFlow Serving."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfae.versions import list_versions


@dataclass(frozen=True)
class VersionPolicy:
    """The versions of a base path to serve: a number of newest ones, those of specific numbers, or all (both None)."""

    latest: int | None = 1
    specific: frozenset[int] | None = None

    def select(self, versions: Mapping[int, Path]) -> dict[int, Path]:
        """Return the versions to serve, with their folders."""
        if self.specific is not None:
            return {version: path for version, path in versions.items() if version in self.specific}
        newest_first = sorted(versions, reverse=True)
        return {version: versions[version] for version in newest_first[: self.latest]}


@dataclass(frozen=True)
class ModelConfig:
    """One model of a server.

    Attributes:
        name: Name for clients.
        base_path: Folder of the versions, each in a folder named with its number.
        policy: Which versions are served.
        labels: Numbers of versions by label; a version may be missing.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = field(default_factory=dict)

    def versions(self) -> dict[int, Path]:
        """Return the folders of versions by number; OSError if the base path is no folder."""
        return list_versions(self.base_path)


#: Returns the models to serve each time it is called.
Source = Callable[[], Sequence[ModelConfig]]


def read_model_config_file(path: Path) -> list[ModelConfig]:
    """Read the models of a file as TensorFlow Serving's ``--model_config_file`` takes it; ValueError if it is none.

    A relative ``base_path`` is relative to the working directory.
    """
    what = "model config file: expected a ModelServerConfig in protobuf's text format"
    try:
        text = path.read_text(encoding="utf-8")
        message = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(f"{what}; received {path} ({error}).") from error
    if message.WhichOneof("config") != "model_config_list":
        raise ValueError(f"{what} with a model_config_list; received {path} without one.")
    configs = [_read_model_config(config, path) for config in message.model_config_list.config]
    names = [config.name for config in configs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{what}, each model with a name of its own; received {min(twice)} twice in {path}.")
    return configs


def make_source(
    models: str | os.PathLike[str] | Sequence[ModelConfig] | Source,
    *,
    name: str | None = None,
    labels: Mapping[str, int] | None = None,
) -> Source:
    """Make a function that returns the models to serve each time it is called; arguments as for `LocalServer`.

    Raises:
        ValueError: If the folder or file does not exist or is no such one.
    """
    if callable(models):
        return models
    if not isinstance(models, (str, os.PathLike)):
        configs = list(models)
    else:
        path = Path(models)
        if path.is_file():
            if name is not None or labels:
                raise ValueError(f"name, labels: expected none beside a model config file; received {path} and them.")
            return lambda: read_model_config_file(path)
        if name is None and not labels and _find_models(path):
            return lambda: [read_folder(model, None, {}) for model in _find_models(path)]
        configs = [read_folder(path, name, labels or {})]
    return lambda: configs


def _find_models(path: Path) -> list[Path]:
    """Return the folders of models in a folder that is none itself."""
    if any(path.glob("*/saved_model.pb")):
        return []
    return sorted({file.parents[1] for file in path.glob("*/[0-9]*/saved_model.pb")})


def _read_model_config(config: Any, path: Path) -> ModelConfig:
    """Convert a protobuf ``ModelConfig``."""
    for attribute in ("name", "base_path"):
        if not getattr(config, attribute):
            raise ValueError(
                f"model config file: expected a {attribute} for every model; received one without, {path}."
            )
    if config.model_platform not in ("", "tensorflow"):
        raise ValueError(
            f"model config file: expected model_platform: 'tensorflow'; received {config.model_platform!r} for "
            f"{config.name}, {path}."
        )
    return ModelConfig(
        config.name, Path(config.base_path), _read_policy(config.model_version_policy), dict(config.version_labels)
    )


def _read_policy(policy: Any) -> VersionPolicy:
    """Convert a protobuf ``ServableVersionPolicy``; the newest version if it is empty."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        return VersionPolicy(latest=None, specific=frozenset(policy.specific.versions))
    # num_versions 0 means the default, one, as in TensorFlow Serving.
    return VersionPolicy(latest=None if choice == "all" else policy.latest.num_versions or 1)


def validate_ports(*, rest_port: int, grpc_port: int, least: int = 0) -> None:
    """Raise ValueError unless both are ports of at least ``least``, and different unless they are 0."""
    for argument, port in (("rest_port", rest_port), ("grpc_port", grpc_port)):
        if not least <= port < 65536:
            raise ValueError(f"{argument}: expected a number from {least} to 65535; received {port}.")
    if rest_port == grpc_port != 0:
        raise ValueError(f"rest_port: expected another port than grpc_port; received {rest_port} for both.")


def read_folder(path: Path, name: str | None, labels: Mapping[str, int]) -> ModelConfig:
    """Return the model in a folder, which serves its newest version, or the labelled versions if there are labels."""
    if not path.is_dir():
        raise ValueError(
            f"models: expected a folder with a model's versions, or a model config file; received {path}, which is "
            "not there. `tfae export` writes such a folder."
        )
    if (path / "saved_model.pb").exists():
        raise ValueError(
            f"models: expected the folder of a model's versions; received one version, {path}. Take {path.parent}."
        )
    if (path / "model.keras").exists():
        raise ValueError(
            f"models: expected the folder of a model's versions; received the run directory {path}. Export it first: "
            f"tfae export {shlex.quote(str(path))}."
        )
    if models := _find_models(path):
        raise ValueError(
            f"models: expected the folder of one model's versions; received {path}, which holds those of "
            f"{', '.join(model.name for model in models)}. Take one of these."
        )
    name = path.resolve().name if name is None else name
    if not name or set(name) & set("/:"):
        raise ValueError(f"name: expected a name without / and : that fits into a URL; received {name!r}.")
    policy = VersionPolicy(latest=None, specific=frozenset(labels.values())) if labels else VersionPolicy()
    return ModelConfig(name, path, policy, dict(labels))
