"""The models of a server: a thread loads and unloads versions as their folders come and go."""

from __future__ import annotations

import atexit
import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from tfae.serving.local.prediction import load
from tfae.serving.model_config import select_versions
from tfae.serving.status import ModelSpec, StatusError, VersionStatus

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

    from tfae.servable import Servable

_LOG = logging.getLogger("tfae.serving")


@dataclass(eq=False)
class ModelVersion:
    """A version of a model, ``wanted`` if the version policy selects it; the servable is there if it is AVAILABLE.

    The error that ended it is a code and a message.
    """

    name: str
    number: int
    path: Path
    state: str = "START"
    wanted: bool = True
    error: tuple[str, str] = ("OK", "")
    servable: Servable | None = None


@final
class Models:
    """Versions of models, loaded and replaced in the order of TensorFlow Serving; every method is thread-safe.

    ``source`` returns the models to serve each time it is called. A new version is loaded and warmed up before the one
    that it replaces ends. Requests under way keep that one; what it takes is given back with the last of them.
    """

    def __init__(
        self, source: Callable[[], Sequence[ModelConfig]], *, poll_seconds: float = 1.0, allow_xla: bool = False
    ) -> None:
        if not 0 <= poll_seconds < float("inf"):
            raise ValueError(f"poll_seconds: expected a number of at least 0; received {poll_seconds}.")
        self._source = source
        self._poll_seconds = poll_seconds
        self._allow_xla = allow_xla
        self._warnings: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="tfae-models", daemon=True)
        self._has_looked, self._is_stopping = threading.Event(), threading.Event()
        #: Of the configs, the versions, and what the versions hold.
        self._lock = threading.Lock()
        self._configs = {config.name: config for config in source()}
        if not self._configs:
            raise ValueError("models: expected at least one model; received none.")
        self._versions: dict[str, dict[int, ModelVersion]] = {}

    def start(self, timeout: float | None = None) -> None:
        """Start loading, and wait until every version is loaded or has failed; TimeoutError after ``timeout`` s."""
        atexit.register(self.stop, None)  # TensorFlow aborts a process that ends during a load.
        self._thread.start()
        if not self._has_looked.wait(timeout):
            raise TimeoutError(f"timeout: expected the models to be loaded within {timeout} s; they were not.")

    def stop(self, grace: float | None = 10.0) -> bool:
        """End every version; return whether none was still being loaded after ``grace`` seconds, None for any time."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(grace)
        with self._lock:
            self._versions = {}
        if self._thread.is_alive():  # Python waits for it at exit.
            return False
        atexit.unregister(self.stop)
        return True

    def find(self, spec: ModelSpec) -> tuple[ModelVersion, Servable]:
        """Return the version that a request asks for; NOT_FOUND or INVALID_ARGUMENT if there is none."""
        with self._lock:
            number = spec.version
            if number is None and spec.label is not None:
                config = self._configs.get(spec.name)
                if config is None or spec.label not in config.version_labels:
                    raise StatusError("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.label}")
                number = config.version_labels[spec.label]
            available = self._find_available(spec.name)
            wanted = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
            version = available.get(max(available, default=-1) if number is None else number)
            if version is None or version.servable is None:
                raise StatusError("NOT_FOUND", f"Servable not found for request: {wanted}")
            return version, version.servable

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return the states of a model's versions, newest first, or of one version; NOT_FOUND if there is none."""
        with self._lock:
            versions = self._versions.get(name, {})
            numbers = sorted(versions, reverse=True) if version is None else [version]
            if not numbers or numbers[0] not in versions:
                what = "any versions" if version is None else f"version {version}"
                raise StatusError("NOT_FOUND", f"Could not find {what} of model {name}")
            return [VersionStatus(number, versions[number].state, *versions[number].error) for number in numbers]

    def available(self) -> dict[str, list[int]]:
        """Return the available versions of every model of the source, ascending."""
        with self._lock:
            return {name: sorted(self._find_available(name)) for name in self._configs}

    def _find_available(self, name: str) -> dict[int, ModelVersion]:
        return {n: version for n, version in self._versions.get(name, {}).items() if version.state == "AVAILABLE"}

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._find_versions()
            while (version := self._take_next()) is not None:
                self._load(version)
            self._has_looked.set()
            self._is_stopping.wait(min(self._poll_seconds or threading.TIMEOUT_MAX, threading.TIMEOUT_MAX))

    def _find_versions(self) -> None:
        """Read the configs, and update the versions of every model to the folders that are there."""
        problem = ""
        try:
            configs = {config.name: config for config in self._source()}
        except Exception as error:  # The thread survives any source.
            problem, configs = f"{error} What was served before still is.", self._configs
        self._warn_once("", problem)
        with self._lock:
            self._configs = configs
        for name in {**configs, **self._versions}:
            found: dict[int, Path] = {}
            if name in configs:
                try:
                    found = select_versions(configs[name])
                except OSError as error:
                    self._warn_once(name, f"{name}: the base path cannot be read ({error}); waiting.")
                    continue
                where = configs[name].base_path
                self._warn_once(name, "" if found else f"{name}: no version to serve in {where} yet; waiting.")
            with self._lock:
                _want(self._versions.setdefault(name, {}), name, found)

    def _warn_once(self, about: str, message: str) -> None:
        """Log a warning, unless it is empty or was the last one about the same model."""
        if message and self._warnings.get(about) != message:
            _LOG.warning("%s", message)
        self._warnings[about] = message

    def _take_next(self) -> ModelVersion | None:
        """Return the newest version that waits to be loaded, now in state LOADING."""
        with self._lock:
            versions = [version for versions in self._versions.values() for version in versions.values()]
            waiting = [version for version in versions if version.state == "START"]
            if self._is_stopping.is_set() or not waiting:
                return None
            newest = max(waiting, key=lambda version: version.number)
            newest.state = "LOADING"
            return newest

    def _load(self, version: ModelVersion) -> None:
        began = time.perf_counter()
        label = f"{version.name} version {version.number}"
        servable, error = None, ("OK", "")
        try:
            servable = load(version.path, allow_xla=self._allow_xla)
            _LOG.info("%s loaded in %.2f s", label, time.perf_counter() - began)
        except StatusError as rejection:
            error = rejection.code, rejection.message
            _LOG.error("%s could not be loaded: %s", label, rejection)
        except Exception as failure:  # The thread goes on with other versions.
            error = "INTERNAL", f"{type(failure).__name__}: {failure}"
            _LOG.exception("%s could not be loaded", label)
        with self._lock:
            version.servable, version.error = servable, error
            version.state = "END" if servable is None else "AVAILABLE"
            _retire(self._versions.get(version.name, {}))
        gc.collect()  # Graphs are large, and in reference cycles.


def _want(versions: dict[int, ModelVersion], name: str, found: Mapping[int, Path]) -> None:
    """Update the versions of a model to the wanted folders; one that failed is tried again once its folder was gone."""
    for number, version in versions.items():
        version.wanted = version.wanted and number in found
    for number, path in found.items():
        known = versions.get(number)
        if known is None or (known.state == "END" and not known.wanted):
            versions[number] = ModelVersion(name, number, path)
        else:
            known.wanted = True
    _retire(versions)


def _retire(versions: Mapping[int, ModelVersion]) -> None:
    """End versions that are not wanted, once a wanted one is available or if none is wanted."""
    wanted_states = [version.state for version in versions.values() if version.wanted]
    is_replaced = not wanted_states or "AVAILABLE" in wanted_states
    for version in versions.values():
        if not version.wanted and (version.state == "START" or (version.state == "AVAILABLE" and is_replaced)):
            if version.servable is not None:
                _LOG.info("%s version %d unloaded", version.name, version.number)
            version.state, version.servable = "END", None
