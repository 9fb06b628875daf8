"""The settings of a deployment."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from tfae.serving.engines import IMAGE
from tfae.serving.model_config import read_folder, validate_versions

#: Characters of a DNS label, less the longest suffix of an object.
_MAX_KUBERNETES_NAME = 50

#: Patterns of text arguments, and their descriptions in errors.
_PATTERNS = {
    "name": (
        r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
        "letters, digits, dots, hyphens and underscores, as in URLs (--name gives another one)",
    ),
    "labels": (r"[A-Za-z0-9._-]+", "letters, digits, dots, hyphens and underscores"),
    "image": (r"[^\s\"'\\$]+", f"a name such as {IMAGE}:TAG"),
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
    image: str = IMAGE
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
