"""A deployment, and the folder of its files, which is written whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2

from tfae.atomic_write import write_atomically
from tfae.serving import engines
from tfae.serving.deployment.warmup_requests import list_batch_sizes, read_requests, write_rest_bodies
from tfae.serving.model_config import make_config, read_folder, validate_versions
from tfae.versions import list_versions

#: Characters of a DNS label, less the longest suffix of an object.
_MAX_KUBERNETES_NAME = 50

#: Patterns of text arguments, and their descriptions in errors.
_PATTERNS = {
    "name": (
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
        "letters, digits, dots, hyphens and underscores, as in URLs (--name gives another one)",
    ),
    "labels": (r"[A-Za-z0-9._-]+", "letters, digits, dots, hyphens and underscores"),
    "image": (r"[^\s\"'\\$]+", f"a name such as {engines.IMAGE}:TAG"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model, and its servers.

    Attributes:
        saved_models: Folder of the model's versions, ``saved_models/<name>``.
        name: Name of the model for clients; by default that of the folder.
        labels: Version of each label. With labels, only these versions are served, and the readiness probe asks for the
            first; else the highest version is served, and a new one replaces it.
        image: Docker image of TensorFlow Serving, with tag or digest.
        batching: Whether the servers batch the requests of several clients.
    """

    saved_models: Path
    name: str = ""
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    image: str = engines.IMAGE
    batching: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.saved_models.resolve().name)
        for argument, (pattern, expected) in _PATTERNS.items():
            given = getattr(self, argument)
            for text in given if argument == "labels" else (given,):
                if not re.fullmatch(pattern, text):
                    raise ValueError(f"{argument}: expected {expected}; received {text!r}.")
        validate_versions(read_folder(self.saved_models, self.name, self.labels))

    @property
    def kubernetes_name(self) -> str:
        """The name of objects in Kubernetes: lower-case letters, digits and hyphens, a letter first."""
        name = re.sub("[^a-z0-9]+", "-", self.name.lower())
        return (name if name[0].isalpha() else f"model-{name}")[:_MAX_KUBERNETES_NAME].strip("-")


def write(deployment: Deployment, path: Path, *, replace: bool = False) -> None:
    """Write a deployment's files to a folder that is missing or empty, or with ``replace`` that of an earlier one."""
    files = render(deployment, path)
    if path.exists():
        _validate_replaceable(path, files, replace=replace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".staging-", dir=path.parent) as folder:
            new = Path(folder, "new")
            for name, content in files.items():
                write_atomically(new / name, content)
            _exchange(path, new, Path(folder, "old"))
    except OSError as error:
        raise ValueError(f"path: expected a folder that can be written; received {path} ({error.strerror}).") from error


def render(deployment: Deployment, path: Path) -> dict[str, str]:
    """Return the content of the files by name, relative to the folder ``path``."""
    label, versions = next(iter(deployment.labels), None), list_versions(deployment.saved_models)
    requests = read_requests(versions[max(versions) if label is None else deployment.labels[label]])
    batch_sizes = list_batch_sizes(requests)
    by_signature, unprobed = write_rest_bodies(requests)
    served = make_config(deployment.name, PurePosixPath("/models", deployment.name), deployment.labels)
    files = {"model_config_file": "/config/models.config", "monitoring_config_file": "/config/monitoring.config"}
    if deployment.batching:
        files["batching_parameters_file"] = "/config/batching.config"
    models = _find_relative_path(deployment.saved_models, path)
    values: dict[str, Any] = {
        "deployment": deployment,
        "label": label,
        "flags": ["--port=8500", "--rest_api_port=8501", *engines.build_flags([served], files)],
        "models": models,
        "mounted": models if Path(models).is_absolute() else f"$PWD/{models}",
        "batch_sizes": batch_sizes,
        "metrics_path": engines.METRICS_PATH,
        "rest_api_timeout_s": engines.REST_API_TIMEOUT_IN_MS // 1000,
        "probe_path": f"/v1/models/{deployment.name}" + ("" if label is None else f"/labels/{label}") + ":predict",
        "signatures": list(by_signature),
        "unprobed": unprobed,
    }
    config = {
        "models.config": engines.render_model_config([served]),
        "batching.config": _render_template("batching.config", values),
        "monitoring.config": engines.MONITORING_CONFIG,
    }
    readiness = {f"{signature}.json": body + "\n" for signature, body in by_signature.items()}
    readiness |= {"ready.sh": _render_template("ready.sh", values)}
    values |= {
        "config": config,
        "readiness": readiness,
        "checksum": hashlib.sha256(json.dumps({**config, **readiness}, sort_keys=True).encode()).hexdigest()[:16],
        "example": "score.json" if "score.json" in readiness else next(n for n in readiness if n.endswith(".json")),
    }
    return {
        **{f"config/{name}": content for name, content in config.items()},
        **{f"readiness/{name}": content for name, content in readiness.items()},
        **{name: _render_template(name, values) for name in ("compose.yaml", "kubernetes.yaml", "README.md")},
    }


def _validate_replaceable(path: Path, files: Mapping[str, str], *, replace: bool) -> None:
    """Raise if the folder holds other files than those of a deployment."""
    if not path.is_dir():
        raise ValueError(f"path: expected a folder; received the file {path}.")
    # Beside the models of an export there is the lock that exporters take turns by.
    found = [each for each in path.rglob("*") if not each.is_dir() and not re.fullmatch(r"\..*\.lock", each.name)]
    if found and not replace:
        raise ValueError(
            f"path: expected a folder that is empty or not there yet; received {path} with {found[0].name}. Replace it "
            "with --replace."
        )
    for entry in found:
        name = entry.relative_to(path).as_posix()
        if name not in files and not re.fullmatch(r"readiness/(ready\.sh|[^/]+\.json)", name):
            raise ValueError(
                f"path: expected a folder with nothing but what was written before; received {path} with {name}. "
                "Move it elsewhere, or choose another folder."
            )


def _exchange(path: Path, new: Path, old: Path) -> None:
    if not path.exists():
        new.rename(path)
        return
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise


def _render_template(template: str, values: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfae.serving.deployment"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.get_template(template).render(values)


def _find_relative_path(saved_models: Path, folder: Path) -> str:
    """Return the path of the models from the folder, so that both can move together; absolute if there is none."""
    try:
        relative = Path(os.path.relpath(saved_models.resolve(), folder.resolve())).as_posix()
    except ValueError:  # Different drives of Windows.
        return saved_models.resolve().as_posix()
    return relative if relative.startswith("..") else f"./{relative}"
