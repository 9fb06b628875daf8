"""The models that the local server holds: which versions are there, who may use them, and running them."""

from __future__ import annotations

import atexit
import gc
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import final

import numpy as np

from tfae.serving.local.batching import Batcher
from tfae.serving.local.batching_parameters import BatchingParameters
from tfae.serving.local.loading import load
from tfae.serving.local.prediction import check_dtypes, run_alone, signature_of
from tfae.serving.local.version_table import VersionTable
from tfae.serving.local.versions import Lease as Lease
from tfae.serving.local.versions import ModelSpec as ModelSpec
from tfae.serving.local.versions import ModelVersion
from tfae.serving.local.versions import VersionStatus as VersionStatus
from tfae.serving.model_config import ModelConfig
from tfae.serving.status import StatusError

_LOG = logging.getLogger("tfae.serving")


@final
class Models:
    """All models of a server, each with its versions; thread-safe. Methods may block: call them from threads.

    One thread of its own looks for new versions, loads them, and closes what nobody holds any more. A version is
    loaded and warmed up before the ones that it replaces go, and if it fails, they stay.

    Args:
        source: Says which models are wanted. It is asked again at every look, so that a config file can change; an
            error then is logged, and what was wanted before holds on.
        poll_seconds: Time between two looks for versions; 0 looks once only.
        batching: How requests are batched, None for not at all.
        allow_xla: Whether functions compiled by XLA may run.
        batched: Told the number of rows of every batch.

    Raises:
        ValueError: From ``source``, or if it names no model at the start.
    """

    def __init__(
        self,
        source: Callable[[], Sequence[ModelConfig]],
        *,
        poll_seconds: float = 1.0,
        batching: BatchingParameters | None = None,
        allow_xla: bool = False,
        batched: Callable[[int], object] | None = None,
    ) -> None:
        if not 0 <= poll_seconds < float("inf"):
            raise ValueError(f"poll_seconds: expected a number of at least 0; received {poll_seconds}.")
        self._source = source
        self._read = list(source())
        if not self._read:
            raise ValueError("models: expected at least one model; received none.")
        self._table = VersionTable(self._read)
        self._poll_seconds = poll_seconds
        self._allow_xla = allow_xla
        self._batcher = None if batching is None else Batcher(batching, run_alone, batched)
        self._complaints: dict[str, str] = {}
        # Under the table's lock.
        self._look_at_once = False
        self._settled = False
        self._stopping = False
        self._thread = threading.Thread(target=self._keep_up, name="tfae-models", daemon=True)

    def start(self, timeout: float | None = None) -> None:
        """Begin to load, and wait until every version that is there now is loaded or has failed.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: If that was not long enough; loading goes on.
        """
        if self._batcher is not None:
            self._batcher.start()
        # TensorFlow aborts a process that ends while one of its threads loads.
        atexit.register(self._end_thread)
        self._thread.start()
        with self._table.changed:
            if not self._table.changed.wait_for(lambda: self._settled, timeout):
                raise TimeoutError(f"timeout: expected the models to be loaded within {timeout} s; received no end.")

    def stop(self, grace: float = 10.0) -> bool:
        """Unload everything that nobody holds any more ``grace`` seconds from now; to be called once.

        Returns:
            Whether that was all.
        """
        deadline = time.monotonic() + grace
        self._end_thread(grace)
        free = self._table.wait_until_free(max(0.0, deadline - time.monotonic()))
        self._table.unload_all()
        self._close_all()
        if self._batcher is not None:
            self._batcher.stop()
        if self._thread.is_alive():  # In the middle of a version; Python waits for it when it ends.
            return False
        atexit.unregister(self._end_thread)
        return free

    def _end_thread(self, timeout: float | None = None) -> None:
        """Have the thread end after the version that it loads, and wait for that."""
        with self._table.changed:
            self._stopping = True
            self._table.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def lease(self, spec: ModelSpec) -> AbstractContextManager[Lease]:
        """Hold a version for the time of a request; it is unloaded only when nobody holds it.

        Raises:
            StatusError: On entry: NOT_FOUND ("Servable not found for request: Latest(name)" or "… Specific(name,
                9)"), INVALID_ARGUMENT ("Unrecognized servable version label: x").
        """
        return self._table.lease(spec)

    def run(
        self,
        lease: Lease,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Collection[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Ask a signature, together with other requests if the server batches.

        Args:
            lease: From `lease`, still held.
            signature_name: A key of ``lease.servable.signatures``; ``""`` means ``serving_default``.
            inputs: An array for every input of the signature, strings as object arrays of bytes.
            outputs: Names of the outputs that are wanted, all by default.

        Returns:
            An array for each output.

        Raises:
            StatusError: FAILED_PRECONDITION ('Serving signature key "x" not found.'), or what the kernel says.
        """
        signature = signature_of(lease.servable, signature_name)
        check_dtypes(signature, inputs)
        # The real server batches whole signatures only, and runs a part of one alone.
        if self._batcher is None or (outputs is not None and set(outputs) != set(signature.outputs)):
            return run_alone(lease.servable, signature.name, inputs, outputs)
        return self._batcher.run(lease.servable, signature.name, inputs)

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """What is known of a model, or of one version, newest first.

        Raises:
            StatusError: NOT_FOUND ("Could not find any versions of model x", "Could not find version 9 of model x").
        """
        return self._table.status(name, version)

    def available(self) -> dict[str, list[int]]:
        """The versions that answer, ascending, of every model that is wanted; an empty list if there is none."""
        return self._table.available()

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Want these models from now on, and forget what was said of versions that are gone."""
        self._table.replace_configs(configs)
        with self._table.changed:
            self._look_at_once = True
            self._table.changed.notify_all()

    def _keep_up(self) -> None:
        """Look, load and unload until told to stop; what the thread of its own does."""
        while True:
            self._reread()
            self._look()
            while not self._stopping and (version := self._table.begin_loading()) is not None:
                self._load(version)
                self._close_all()
            self._close_all()
            with self._table.changed:
                self._settled = True
                self._table.changed.notify_all()
            if not self._wait():
                return

    def _wait(self) -> bool:
        """Wait for the next look, closing what becomes free meanwhile; False when it is time to stop."""
        deadline = time.monotonic() + self._poll_seconds if self._poll_seconds else None
        while True:
            with self._table.changed:
                self._table.changed.wait_for(
                    lambda: self._stopping or self._look_at_once or self._table.closable(),
                    None if deadline is None else max(0.0, deadline - time.monotonic()),
                )
                if self._stopping:
                    return False
                look = self._look_at_once or (deadline is not None and time.monotonic() >= deadline)
                self._look_at_once = False
            if look:
                return True
            self._close_all()

    def _reread(self) -> None:
        """Take over what the source says, if it says something new."""
        try:
            configs = list(self._source())
        except Exception as error:  # The thread has to live on, whoever wrote the source.
            self._complain("", f"{error} What was served before still is.")
            return
        self._complaints.pop("", None)
        if configs != self._read:
            self._read = configs
            self._table.replace_configs(configs)

    def _look(self) -> None:
        """Find out which versions are wanted now."""
        for config in self._table.configs():
            try:
                found = config.policy.select(config.versions())
            except OSError as error:
                self._complain(config.name, f"{config.name}: the base path cannot be read ({error}); waiting.")
                continue
            if not found:
                self._complain(config.name, f"{config.name}: no version to serve in {config.base_path} yet; waiting.")
            else:
                self._complaints.pop(config.name, None)
            self._table.aspire(config.name, found)

    def _complain(self, about: str, message: str) -> None:
        """Log what is wrong, once."""
        if self._complaints.get(about) != message:
            self._complaints[about] = message
            _LOG.warning("%s", message)

    def _load(self, version: ModelVersion) -> None:
        """Load one version and offer it, or note why not."""
        began = time.perf_counter()
        try:
            servable = load(version.path, allow_xla=self._allow_xla)
        except StatusError as error:
            readable = error.message.encode("utf-8", "replace").decode()
            self._table.failed(version, StatusError(error.code, readable))
            _LOG.error("%s version %d could not be loaded: %s: %s", version.name, version.number, error.code, readable)
        except Exception as error:  # The thread has to live on, for the other versions.
            self._table.failed(version, StatusError("INTERNAL", f"{type(error).__name__}: {error}"))
            _LOG.exception("%s version %d could not be loaded", version.name, version.number)
        else:
            self._table.loaded(version, servable)
            _LOG.info("%s version %d loaded in %.2f s", version.name, version.number, time.perf_counter() - began)

    def _close_all(self) -> None:
        """Close what is on its way out and held by nobody."""
        while (ended := self._table.end()) is not None:
            version, servable = ended
            servable.close()
            del ended, servable
            gc.collect()  # Graphs hold themselves in circles, and what they hold is large.
            _LOG.info("%s version %d unloaded", version.name, version.number)
