"""The models of a server: a thread loads and unloads versions as their folders come and go; requests lease them."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import final

import tensorflow as tf

from tfae.servable import Servable, read_warmup
from tfae.serving.local.prediction import find_signature, run, to_status_error, validate_inputs
from tfae.serving.local.versions import ModelVersion, retire, want
from tfae.serving.model_config import ModelConfig
from tfae.serving.status import ModelSpec, StatusError, VersionStatus

_LOG = logging.getLogger("tfae.serving")


@final
class Models:
    """Versions of models, loaded and replaced in the order of TensorFlow Serving; every method is thread-safe.

    A new version is loaded and warmed up before the one that it replaces is unloaded. A version is unloaded when no
    request uses it.

    Args:
        source: Returns the models to serve each time it is called.
        poll_seconds, allow_xla: As for `LocalServer`.

    Raises:
        ValueError: From ``source``, or if it returns no model.
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
        # The lock of all attributes below; it is notified of changes that a thread may wait for.
        self._changed = threading.Condition()
        self._configs = {config.name: config for config in source()}
        if not self._configs:
            raise ValueError("models: expected at least one model; received none.")
        self._versions: dict[str, dict[int, ModelVersion]] = {}
        self._has_looked = self._is_stopping = False

    def start(self, timeout: float | None = None) -> None:
        """Start loading, and wait until every version in the folders is loaded or has failed.

        Raises:
            TimeoutError: After ``timeout`` seconds; loading goes on.
        """
        atexit.register(self._stop_thread)  # TensorFlow aborts a process that ends during a load.
        self._thread.start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_looked, timeout):
                raise TimeoutError(f"timeout: expected the models to be loaded within {timeout} s; they were not.")

    def stop(self, grace: float = 10.0) -> bool:
        """Unload every version that is free within ``grace`` seconds, and return whether all were."""
        deadline = time.monotonic() + grace
        self._stop_thread(grace)
        with self._changed:
            for versions in self._versions.values():
                want(versions, "", {})
            is_free = self._changed.wait_for(
                lambda: not any(version.num_leases for version in self._all()), max(0.0, deadline - time.monotonic())
            )
        self._close_versions()
        if self._thread.is_alive():  # It loads a version; Python waits for it at exit.
            return False
        atexit.unregister(self._stop_thread)
        return is_free

    @contextlib.contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[tuple[ModelVersion, Servable]]:
        """Keep a version loaded during a request; NOT_FOUND or INVALID_ARGUMENT if there is none."""
        with self._changed:
            version = self._find(spec)
            version.num_leases += 1
            servable = version.servable
        if servable is None:
            raise AssertionError("a version that is AVAILABLE has something loaded")
        try:
            yield version, servable
        finally:
            with self._changed:
                version.num_leases -= 1
                if version.is_closable:
                    self._changed.notify_all()

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Return the states of a model's versions, newest first, or of one version; NOT_FOUND if there is none."""
        with self._changed:
            versions = self._versions.get(name, {})
            if version is not None:
                if version not in versions:
                    raise StatusError("NOT_FOUND", f"Could not find version {version} of model {name}")
                return [versions[version].status]
            if not versions:
                raise StatusError("NOT_FOUND", f"Could not find any versions of model {name}")
            return [versions[number].status for number in sorted(versions, reverse=True)]

    def available(self) -> dict[str, list[int]]:
        """Return the available versions of every model of the source, ascending."""
        with self._changed:
            return {
                name: sorted(n for n, v in self._versions.get(name, {}).items() if v.state == "AVAILABLE")
                for name in self._configs
            }

    def _find(self, spec: ModelSpec) -> ModelVersion:
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

    def _all(self) -> list[ModelVersion]:
        return [version for versions in self._versions.values() for version in versions.values()]

    def _run(self) -> None:
        """Poll for versions, load and unload them until told to stop."""
        while True:
            self._read_configs()
            self._find_versions()
            while (version := self._take_next()) is not None:
                self._load(version)
                self._close_versions()
            self._close_versions()
            with self._changed:
                self._has_looked = True
                self._changed.notify_all()
            if not self._wait():
                return

    def _wait(self) -> bool:
        """Wait for the next poll, and unload what becomes free meanwhile; return False if told to stop."""
        deadline = time.monotonic() + self._poll_seconds if self._poll_seconds else float("inf")
        while (left := deadline - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_stopping or any(version.is_closable for version in self._all()),
                    min(left, threading.TIMEOUT_MAX),
                )
                if self._is_stopping:
                    return False
            self._close_versions()
        return True

    def _stop_thread(self, timeout: float | None = None) -> None:
        """Tell the thread to stop, and wait until it has, after the version that it loads."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _read_configs(self) -> None:
        """Read the source."""
        try:
            configs = {config.name: config for config in self._source()}
        except Exception as error:  # The thread survives any source.
            self._warn_once("", f"{error} What was served before still is.")
            return
        self._warnings.pop("", None)
        with self._changed:
            if configs == self._configs:
                return
            self._configs = configs
            for name, versions in self._versions.items():
                if name not in configs:
                    want(versions, name, {})
                # A version that failed under the old config may be loaded again if it is not wanted now.
                for number in [n for n, v in versions.items() if v.state == "END" and not v.wanted]:
                    del versions[number]

    def _find_versions(self) -> None:
        """Find the versions to serve."""
        for config in self._configs.values():
            try:
                found = config.policy.select(config.versions())
            except OSError as error:
                self._warn_once(config.name, f"{config.name}: the base path cannot be read ({error}); waiting.")
                continue
            if found:
                self._warnings.pop(config.name, None)
            else:
                self._warn_once(config.name, f"{config.name}: no version to serve in {config.base_path} yet; waiting.")
            with self._changed:
                want(self._versions.setdefault(config.name, {}), config.name, found)

    def _warn_once(self, about: str, message: str) -> None:
        """Log a warning, unless it was the last one about the same model."""
        if self._warnings.get(about) != message:
            self._warnings[about] = message
            _LOG.warning("%s", message)

    def _take_next(self) -> ModelVersion | None:
        """Return the newest version that waits to be loaded, now in state LOADING."""
        with self._changed:
            waiting = [version for version in self._all() if version.state == "START"]
            if self._is_stopping or not waiting:
                return None
            newest = max(waiting, key=lambda version: version.number)
            newest.state = "LOADING"
            return newest

    def _load(self, version: ModelVersion) -> None:
        """Load a version and make it available, or store the error."""
        began = time.perf_counter()
        label = f"{version.name} version {version.number}"
        servable = error = None
        try:
            servable = load(version.path, allow_xla=self._allow_xla)
            _LOG.info("%s loaded in %.2f s", label, time.perf_counter() - began)
        except StatusError as rejection:
            # The message may quote bytes that are not UTF-8.
            error = StatusError(rejection.code, rejection.message.encode("utf-8", "replace").decode())
            _LOG.error("%s could not be loaded: %s", label, error)
        except Exception as failure:  # The thread goes on with other versions.
            error = StatusError("INTERNAL", f"{type(failure).__name__}: {failure}")
            _LOG.exception("%s could not be loaded", label)
        with self._changed:
            version.servable, version.error = servable, error
            version.state = "END" if error else "AVAILABLE"
            retire(self._versions[version.name].values())
            self._changed.notify_all()

    def _close_versions(self) -> None:
        """Close versions that are unloading and that no request uses."""
        has_closed = False
        while True:
            with self._changed:
                version = next((version for version in self._all() if version.is_closable), None)
                if version is None:
                    break
                servable, version.servable, version.state = version.servable, None, "END"
                self._changed.notify_all()
            if servable is not None:
                servable.close()
            del servable
            has_closed = True
            _LOG.info("%s version %d unloaded", version.name, version.number)
        if has_closed:
            gc.collect()  # Graphs are large, and in reference cycles.


def load(path: Path, *, allow_xla: bool = False) -> Servable:
    """Load the version in the folder ``path`` and run its warm-up requests.

    Raises:
        StatusError: If it can not be loaded, or a warm-up request fails, as in TensorFlow Serving.
    """
    try:
        servable = Servable(path, xla_compilation_enabled=allow_xla)
    except tf.errors.OpError as error:
        raise to_status_error(error) from error
    except (ValueError, TypeError, KeyError, IndexError) as error:  # From TensorFlow's importer.
        raise StatusError("INVALID_ARGUMENT", f"{path}: {error}") from error
    try:
        for request in read_warmup(path):
            signature = find_signature(servable, request.signature)
            validate_inputs(signature, request.inputs)
            run(servable, signature, request.inputs)
    except BaseException as error:
        servable.close()
        if isinstance(error, tf.errors.OpError):
            raise to_status_error(error) from error
        raise
    return servable
