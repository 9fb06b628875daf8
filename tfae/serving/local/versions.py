"""The versions of each model: the state each is in, what is loaded of it, and how many requests hold it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfae.servable import Servable
    from tfae.serving.status import StatusError


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Which model a request is for: ``version`` if given, else that of the ``label`` if given, else the newest."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What clients are told of a version: START, LOADING, AVAILABLE, UNLOADING or END, and the error that ended it."""

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclasses.dataclass(eq=False)
class ModelVersion:
    """A version of a model.

    Attributes:
        wanted: Whether the version policy asks for it.
        servable: The loaded model, from AVAILABLE until the end of UNLOADING.
        num_leases: How many requests hold it.
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
        """What clients are told."""
        if self.error is None:
            return VersionStatus(self.number, self.state)
        return VersionStatus(self.number, self.state, self.error.code, self.error.message)

    @property
    def is_closable(self) -> bool:
        """Whether it is to be unloaded and no request holds it."""
        return self.state == "UNLOADING" and not self.num_leases


def want(versions: dict[int, ModelVersion], name: str, found: Mapping[int, Path]) -> None:
    """Note in the versions of a model, by number, which ones are wanted from now on, and where.

    A version that failed is tried again only after its folder was away.
    """
    for number, version in versions.items():
        version.wanted = version.wanted and number in found
    for number, path in found.items():
        known = versions.get(number)
        if known is None or (known.state == "END" and not known.wanted):
            versions[number] = ModelVersion(name, number, path)
        elif known.state != "UNLOADING":  # That has to end first; the next look finds it again.
            known.wanted = True
    retire(versions.values())


def retire(versions: Iterable[ModelVersion]) -> None:
    """Unload what is no longer wanted, once a wanted version answers in its place, or if nothing is wanted."""
    wanted = [version for version in versions if version.wanted]
    is_replaced = not wanted or any(version.state == "AVAILABLE" for version in wanted)
    for version in versions:
        if version.wanted:
            continue
        if version.state == "START":
            version.state = "END"
        elif version.state == "AVAILABLE" and is_replaced:
            version.state = "UNLOADING"
