"""One version of a model: the state it is in, what is loaded of it, and how many hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfae.servable import Servable
    from tfae.serving.status import StatusError


@dataclass(frozen=True)
class ModelSpec:
    """Which model a request is for: ``version`` if given, else that of the ``label`` if given, else the newest.

    Attributes:
        name: Of the model.
        version: Its number.
        label: As the model config names it, such as ``"stable"``.
    """

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class VersionStatus:
    """What GetModelStatus says of one version.

    Attributes:
        version: Its number.
        state: ``"START"``, ``"LOADING"``, ``"AVAILABLE"``, ``"UNLOADING"`` or ``"END"``.
        error_code: ``"OK"``, or why it ended, such as ``"DATA_LOSS"``.
        error_message: Empty if the code is OK.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclass(eq=False)
class ModelVersion:
    """A version that was asked for, in whatever state; only `VersionTable` changes it, under its lock.

    Attributes:
        name: Of the model.
        number: Of the version.
        path: Its folder.
        state: As in `VersionStatus`.
        aspired: Whether the policy still wants it.
        error: Why it could not be loaded, if so.
        servable: What runs, from AVAILABLE until the end of UNLOADING.
        leases: How many requests hold it now.
    """

    name: str
    number: int
    path: Path
    state: str = "START"
    aspired: bool = True
    error: StatusError | None = None
    servable: Servable | None = None
    leases: int = 0

    @property
    def status(self) -> VersionStatus:
        """What is told about it."""
        if self.error is None:
            return VersionStatus(self.number, self.state)
        return VersionStatus(self.number, self.state, self.error.code, self.error.message)


@dataclass(frozen=True)
class Lease:
    """A version that stays loaded as long as this is held.

    Attributes:
        name: Of the model.
        version: Its number, also where the request named a label or nothing.
        servable: What is loaded; its ``signatures`` say what can be asked.
    """

    name: str
    version: int
    servable: Servable


def aspire(versions: dict[int, ModelVersion], name: str, found: Mapping[int, Path]) -> None:
    """Note which versions of a model are wanted from now on.

    A version that failed is tried again only after it was away.

    Args:
        versions: Of the model, by number; changed in place.
        name: Of the model.
        found: Folders of the versions that are wanted.
    """
    for number, version in versions.items():
        version.aspired = version.aspired and number in found
    for number, path in found.items():
        known = versions.get(number)
        if known is None or (known.state == "END" and not known.aspired):
            versions[number] = ModelVersion(name, number, path)
        elif known.state != "UNLOADING":  # That has to end first; it is seen at the next look.
            known.aspired = True
    retire(versions.values())


def retire(versions: Iterable[ModelVersion]) -> None:
    """Send away what is no longer wanted, once something that is wanted answers in its place.

    As long as nothing that is wanted answers, what answered before stays; if nothing is wanted, all of it goes.
    """
    wanted = [version for version in versions if version.aspired]
    replaced = not wanted or any(version.state == "AVAILABLE" for version in wanted)
    for version in versions:
        if version.aspired:
            continue
        if version.state == "START":
            version.state = "END"
        elif version.state == "AVAILABLE" and replaced:
            version.state = "UNLOADING"
