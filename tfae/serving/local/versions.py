"""The versions of a model: the state, the servable and the leases of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tfae.serving.status import StatusError, VersionStatus

if TYPE_CHECKING:
    from tfae.servable import Servable


@dataclasses.dataclass(eq=False)
class ModelVersion:
    """A version of a model.

    Attributes:
        wanted: Whether the version policy selects it.
        servable: The loaded model; None before AVAILABLE and after UNLOADING.
        num_leases: Number of requests that use it.
    """

    name: str
    number: int
    path: Path
    state: str = "START"
    wanted: bool = True
    error: StatusError | None = None
    servable: Servable | None = None
    num_leases: int = 0

    @property
    def status(self) -> VersionStatus:
        """The status for clients."""
        if self.error is None:
            return VersionStatus(self.number, self.state)
        return VersionStatus(self.number, self.state, self.error.code, self.error.message)

    @property
    def is_closable(self) -> bool:
        """Whether it is unloading and no request uses it."""
        return self.state == "UNLOADING" and not self.num_leases


def want(versions: dict[int, ModelVersion], name: str, found: Mapping[int, Path]) -> None:
    """Update the versions of a model, by number, to the folders of the wanted ones.

    A version that failed is loaded again only after its folder was missing.
    """
    for number, version in versions.items():
        version.wanted = version.wanted and number in found
    for number, path in found.items():
        known = versions.get(number)
        if known is None or (known.state == "END" and not known.wanted):
            versions[number] = ModelVersion(name, number, path)
        elif known.state != "UNLOADING":  # It ends first, and is found again by the next poll.
            known.wanted = True
    retire(versions.values())


def retire(versions: Iterable[ModelVersion]) -> None:
    """Mark versions that are not wanted for unloading, once a wanted one is available or if none is wanted."""
    wanted = [version for version in versions if version.wanted]
    is_replaced = not wanted or any(version.state == "AVAILABLE" for version in wanted)
    for version in versions:
        if version.wanted:
            continue
        if version.state == "START":
            version.state = "END"
        elif version.state == "AVAILABLE" and is_replaced:
            version.state = "UNLOADING"
