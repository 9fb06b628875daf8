"""What a server says about a model: signatures with their tensors, and the state of its versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, final

from tfae.serving.status import VersionStatus
from tfae.tensor_spec import Signature, read_signatures


@final
@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a server says about one version of a model; ``print`` shows it as a page."""

    model: str
    version: int
    signatures: dict[str, Signature]

    def signature(self, name: str) -> Signature:
        """The signature of that name; ValueError if the model has none."""
        if name not in self.signatures:
            raise ValueError(
                f"signature: expected one of {', '.join(sorted(self.signatures))}, which version {self.version} of "
                f"{self.model} has; received {name!r}."
            )
        return self.signatures[name]

    def __str__(self) -> str:
        lines = [f"{self.model}, version {self.version}"]
        for name, signature in sorted(self.signatures.items()):
            lines += ["", name, *signature.as_text()]
        return "\n".join(lines)


def read_metadata(document: Mapping[str, Any]) -> Metadata:
    """The metadata in a server's JSON, or in the JSON form of its gRPC answer; some error if there are none."""
    spec = document["model_spec"]
    signatures = read_signatures(document["metadata"]["signature_def"].get("signature_def", {}))
    return Metadata(str(spec["name"]), int(spec["version"]), signatures)


def read_status(document: Mapping[str, Any]) -> list[VersionStatus]:
    """The versions in the same, newest first."""
    versions = []
    for entry in document["model_version_status"]:
        status = entry.get("status", {})
        code, message = status.get("error_code", "OK"), status.get("error_message", "")
        versions.append(
            VersionStatus(int(entry["version"]), str(entry.get("state", "UNKNOWN")), str(code), str(message))
        )
    return sorted(versions, key=lambda entry: -entry.version)
