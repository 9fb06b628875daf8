"""The models of a server, as TensorFlow Serving's messages, from a folder or from a config file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePath

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from tfae.versions import list_versions


def read_models(
    path: str | os.PathLike[str], *, name: str | None = None, labels: Mapping[str, int] | None = None
) -> list[ModelConfig]:
    """Return the models in a folder of versions, in a folder of such folders, or in a model config file."""
    path = Path(path)
    if path.is_file():
        if name is not None or labels:
            raise ValueError(f"name, labels: expected none beside a model config file; received {path} and them.")
        return read_model_config_file(path)
    if name is None and not labels and (models := _find_models(path)):
        return [read_folder(model) for model in models]
    return [read_folder(path, name, labels)]


def read_model_config_file(path: Path) -> list[ModelConfig]:
    """Read the models of a file as TensorFlow Serving's ``--model_config_file`` takes it; ValueError if it is none."""
    what = "model config file: expected a ModelServerConfig in protobuf's text format"
    try:
        message = text_format.Parse(path.read_text(encoding="utf-8"), ModelServerConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(f"{what}; received {path} ({error}).") from error
    if not message.HasField("model_config_list"):
        raise ValueError(f"{what} with a model_config_list; received {path} without one.")
    models = list(message.model_config_list.config)
    for model in models:
        for attribute in ("name", "base_path"):
            if not getattr(model, attribute):
                raise ValueError(
                    f"model config file: expected a {attribute} for every model; received one without, {path}."
                )
        if model.model_platform not in ("", "tensorflow"):
            raise ValueError(
                f"model config file: expected model_platform: 'tensorflow'; received {model.model_platform!r} for "
                f"{model.name}, {path}."
            )
        model.model_platform = "tensorflow"  # The real server demands it.
    names = [model.name for model in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{what}, each model with a name of its own; received {min(twice)} twice in {path}.")
    return models


def read_folder(path: Path, name: str | None = None, labels: Mapping[str, int] | None = None) -> ModelConfig:
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
    return make_config(name, path, labels)


def make_config(name: str, base_path: PurePath, labels: Mapping[str, int] | None = None) -> ModelConfig:
    """Return the config of a model that serves its newest version, or the labelled versions if there are labels."""
    config = ModelConfig(
        name=name, base_path=base_path.as_posix(), model_platform="tensorflow", version_labels=labels or {}
    )
    if labels:
        config.model_version_policy.specific.versions.extend(sorted(set(labels.values())))
    else:
        config.model_version_policy.latest.num_versions = 1
    return config


def select_versions(config: ModelConfig) -> dict[int, Path]:
    """Return the folders of the versions to serve by number; OSError if the base path is no folder."""
    versions, policy = list_versions(Path(config.base_path)), config.model_version_policy
    if policy.HasField("specific"):
        return {number: path for number, path in versions.items() if number in policy.specific.versions}
    # num_versions 0 means the default, one, as in TensorFlow Serving.
    newest = sorted(versions, reverse=True)[: None if policy.HasField("all") else policy.latest.num_versions or 1]
    return {number: versions[number] for number in newest}


def validate_versions(config: ModelConfig) -> None:
    """Raise ValueError if the model's folder holds no version, or lacks one of a label."""
    base_path = Path(config.base_path)
    versions = list_versions(base_path) if base_path.is_dir() else {}
    if not versions:
        raise ValueError(
            f"models: expected a folder of versions, such as saved_models/digits with a folder 1; received "
            f"{base_path}. Export a model with `tfae export`."
        )
    for label, version in config.version_labels.items():
        if version not in versions:
            raise ValueError(
                f"labels: expected one of the versions of {base_path}, {', '.join(map(str, sorted(versions)))}; "
                f"received {label}={version}."
            )


def validate_ports(*, rest_port: int, grpc_port: int, least: int = 0) -> None:
    """Raise ValueError unless both are ports of at least ``least``, and different unless they are 0."""
    for argument, port in (("rest_port", rest_port), ("grpc_port", grpc_port)):
        if not least <= port < 65536:
            raise ValueError(f"{argument}: expected a number from {least} to 65535; received {port}.")
    if rest_port == grpc_port != 0:
        raise ValueError(f"rest_port: expected another port than grpc_port; received {rest_port} for both.")


def _find_models(path: Path) -> list[Path]:
    """Return the folders of models in a folder that is none itself."""
    if any(path.glob("*/saved_model.pb")):
        return []
    return sorted({file.parents[1] for file in path.glob("*/[0-9]*/saved_model.pb")})
