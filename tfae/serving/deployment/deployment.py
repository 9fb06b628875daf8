"""What is to be deployed, and how."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from tfae.serving.deployment.configs import check_versions
from tfae.serving.engines import IMAGE
from tfae.serving.model_config import ModelConfig, VersionPolicy

#: A DNS label, as Kubernetes names objects, with room for what is put behind it.
_MAX_KUBERNETES_NAME = 50

#: What the texts have to be, and how an error says it.
_PATTERNS = {
    "name": (
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
        "letters, digits, dots, hyphens and underscores, as in URLs (--name gives another one)",
    ),
    "labels": (r"[A-Za-z0-9._-]+", "letters, digits, dots, hyphens and underscores"),
    "image": (r"[^\s\"'\\$]+", f"a name such as {IMAGE}:TAG"),
    "memory": (r"[1-9][0-9]*([kMGT]i?)?", "an amount as Kubernetes writes it, such as 2Gi"),
    "namespace": (r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "lower-case letters, digits and hyphens, as Kubernetes does"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model, and the servers that shall serve it.

    Attributes:
        saved_models: Folder of the model's versions, ``saved_models/<name>``.
        name: The model's, as clients ask for it; that of the folder by default.
        labels: Version of each label. Only these are served if there are any, and the readiness probe asks the first;
            else the highest version is served, and a new one replaces it.
        image: Of TensorFlow Serving, with the tag or digest.
        batching: Whether the servers batch the requests of several clients.
        replicas: Servers in Kubernetes.
        namespace: Of Kubernetes; None for that of whoever applies the manifest.
        cpus: That each server asks for, and batches that it runs at once.
        memory: That each server may take, in Kubernetes's notation.

    Raises:
        ValueError: If there is no such model, or it could not be deployed so.
    """

    saved_models: Path
    name: str = ""
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    image: str = IMAGE
    batching: bool = False
    replicas: int = 2
    namespace: str | None = None
    cpus: int = 2
    memory: str = "2Gi"

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.saved_models.resolve().name)
        for argument, (pattern, expected) in _PATTERNS.items():
            given = getattr(self, argument)
            for text in given if argument == "labels" else () if given is None else (given,):
                if not re.fullmatch(pattern, text):
                    raise ValueError(f"{argument}: expected {expected}; received {text!r}.")
        for argument in ("replicas", "cpus"):
            if getattr(self, argument) < 1:
                raise ValueError(f"{argument}: expected at least 1; received {getattr(self, argument)}.")
        check_versions(self.model)

    @property
    def model(self) -> ModelConfig:
        """The model in its folder on this machine."""
        # By default the highest version alone is loaded, and the label of another one would lead nowhere.
        labels = dict(self.labels)
        policy = VersionPolicy(latest=None, specific=frozenset(labels.values())) if labels else VersionPolicy()
        return ModelConfig(self.name, self.saved_models, policy, labels)

    @property
    def probed_label(self) -> str | None:
        """The label that the readiness probe asks, None for whatever version is served."""
        return next(iter(self.labels), None)

    @property
    def probed_version(self) -> Path:
        """Folder of the version that the readiness probe asks."""
        versions = self.model.versions()
        label = self.probed_label
        return versions[max(versions) if label is None else self.labels[label]]

    @property
    def kubernetes_name(self) -> str:
        """Of the objects in Kubernetes: the model's in lower-case letters, digits and hyphens, a letter first."""
        name = re.sub("[^a-z0-9]+", "-", self.name.lower())
        return (name if name[0].isalpha() else f"model-{name}")[:_MAX_KUBERNETES_NAME].strip("-")
