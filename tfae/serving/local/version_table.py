"""Every version of every model, and the lock around them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

from tfae.serving.local.versions import Lease, ModelSpec, ModelVersion, VersionStatus, aspire, retire
from tfae.serving.model_config import ModelConfig
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.servable import Servable


@final
class VersionTable:
    """The versions in all their states; every method is one step that no other thread sees half done.

    Attributes:
        changed: The lock, told of every change that somebody may wait for.
    """

    def __init__(self, configs: Sequence[ModelConfig]) -> None:
        self.changed = threading.Condition()
        self._configs = {config.name: config for config in configs}
        self._versions: dict[str, dict[int, ModelVersion]] = {}
        self._draining = False

    @contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[Lease]:
        """Hold a version; see `Models.lease`."""
        with self.changed:
            version = self._find(spec)
            version.leases += 1
            servable = version.servable
        if servable is None:
            raise AssertionError("a version that is AVAILABLE has something loaded")
        try:
            yield Lease(version.name, version.number, servable)
        finally:
            with self.changed:
                version.leases -= 1
                # Whoever waits is not woken for every request.
                if not version.leases and (self._draining or version.state == "UNLOADING"):
                    self.changed.notify_all()

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """What is known of a model; see `Models.status`."""
        with self.changed:
            versions = self._versions.get(name, {})
            if version is not None:
                if version not in versions:
                    raise StatusError("NOT_FOUND", f"Could not find version {version} of model {name}")
                return [versions[version].status]
            if not versions:
                raise StatusError("NOT_FOUND", f"Could not find any versions of model {name}")
            return [versions[number].status for number in sorted(versions, reverse=True)]

    def available(self) -> dict[str, list[int]]:
        """The versions that answer, by model; see `Models.available`."""
        with self.changed:
            return {
                name: sorted(n for n, v in self._versions.get(name, {}).items() if v.state == "AVAILABLE")
                for name in self._configs
            }

    def configs(self) -> list[ModelConfig]:
        """The models that are wanted."""
        with self.changed:
            return list(self._configs.values())

    def replace_configs(self, configs: Sequence[ModelConfig]) -> None:
        """Want these models from now on, and forget what was said of versions that are gone."""
        with self.changed:
            self._configs = {config.name: config for config in configs}
            for name in list(self._versions):
                if name not in self._configs:
                    aspire(self._versions[name], name, {})
                kept = {n: v for n, v in self._versions[name].items() if v.state != "END" or v.aspired}
                self._versions[name] = kept
            self.changed.notify_all()

    def aspire(self, name: str, found: Mapping[int, Path]) -> None:
        """Note which versions of a model are wanted, unless the model itself no longer is."""
        with self.changed:
            if name in self._configs:
                aspire(self._versions.setdefault(name, {}), name, found)

    def begin_loading(self) -> ModelVersion | None:
        """The version to load next, the newest of a model first, now in the state LOADING; None if all are loaded."""
        with self.changed:
            for versions in self._versions.values():
                for number in sorted(versions, reverse=True):
                    if versions[number].state == "START":
                        versions[number].state = "LOADING"
                        return versions[number]
        return None

    def loaded(self, version: ModelVersion, servable: Servable) -> None:
        """Offer a version, and send away what it replaces."""
        with self.changed:
            version.servable, version.state = servable, "AVAILABLE"
            retire(self._versions[version.name].values())
            self.changed.notify_all()

    def failed(self, version: ModelVersion, error: StatusError) -> None:
        """Give up a version that could not be loaded."""
        with self.changed:
            version.error, version.state = error, "END"
            self.changed.notify_all()

    def closable(self) -> bool:
        """Whether a version is on its way out and nobody holds it."""
        with self.changed:
            return any(_closable(version) for version in self._all())

    def end(self) -> tuple[ModelVersion, Servable] | None:
        """End a version that is on its way out and that nobody holds: it, and what has to be closed; None if none."""
        with self.changed:
            for version in self._all():
                if _closable(version) and version.servable is not None:
                    servable, version.servable, version.state = version.servable, None, "END"
                    self.changed.notify_all()
                    return version, servable
        return None

    def unload_all(self) -> None:
        """Send everything away."""
        with self.changed:
            for version in self._all():
                version.aspired = False
            for versions in self._versions.values():
                retire(versions.values())

    def wait_until_free(self, timeout: float) -> bool:
        """Wait until nobody holds anything, ``timeout`` seconds at most; whether that came about."""
        with self.changed:
            self._draining = True
            return self.changed.wait_for(lambda: not any(version.leases for version in self._all()), timeout)

    def _all(self) -> list[ModelVersion]:
        return [version for versions in self._versions.values() for version in versions.values()]

    def _find(self, spec: ModelSpec) -> ModelVersion:
        """The version that a request is for."""
        number = spec.version
        if number is None and spec.label is not None:
            config = self._configs.get(spec.name)
            if config is None or spec.label not in config.labels:
                raise StatusError("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.label}")
            number = config.labels[spec.label]
        answering = {n: v for n, v in self._versions.get(spec.name, {}).items() if v.state == "AVAILABLE"}
        wanted = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        number = max(answering, default=None) if number is None else number
        if number is None or number not in answering:
            raise StatusError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return answering[number]


def _closable(version: ModelVersion) -> bool:
    return version.state == "UNLOADING" and not version.leases
