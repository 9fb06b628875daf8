"""Training on several devices and machines."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import numpy as np
import pytest
import tensorflow as tf
import yaml

from tests import workers
from tests.commands import train
from tests.samples import KERAS
from tfae import models, runs, training
from tfae.training import strategies

ROOT = Path(__file__).parents[1]
EPOCHS = 12
JOB = ROOT / "docs" / "kubernetes" / "train.yaml"
trains_on_replicas = pytest.mark.skipif(KERAS < strategies.LEAST_KERAS, reason="this Keras is refused there")


@trains_on_replicas
@pytest.mark.parametrize(("num_replicas", "which"), [(2, ""), (3, "partial_last_batch and adam")])
def test_replicas_train_as_one_device(num_replicas, which):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    ended = subprocess.run(
        [*command, "tests/on_two_devices.py", "-k", which],
        cwd=ROOT,
        env={**os.environ, "NUM_REPLICAS": str(num_replicas), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"\d passed", ended.stdout)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A file of 250 rows, of which 200 are trained on, in batches of 48 and a last one of 8, minus one."""
    latents = np.random.default_rng(0).normal(size=(250, 2))
    path = tmp_path_factory.mktemp("table") / "table.csv"
    rows = latents @ np.random.default_rng(1).normal(size=(2, 5)) + 10
    path.write_text("a,b,c,d,e\n" + "\n".join(",".join(f"{value:.6f}" for value in row) for row in rows))
    return path


def arguments(table, epochs):
    return [table, "--epochs", epochs, "--patience", epochs, "--batch-size", 47, "--loss", "mse"]


@pytest.fixture(scope="module")
def undisturbed(table, tmp_path_factory):
    """Two workers, to the end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    started = workers.start(2, folder, *arguments(table, EPOCHS))
    assert workers.wait(started, folder) == [0, 0], workers.logs(folder)
    return folder


def weights_of(folder):
    return runs.load_run(folder / "run").autoencoder.get_weights()


def history_of(folder):
    with (folder / "run" / "history.csv").open() as file:
        return list(csv.DictReader(file))


@trains_on_replicas
def test_two_workers_train_as_one_process_and_the_chief_alone_writes(undisturbed, table, tmp_path):
    train(*map(str, arguments(table, EPOCHS)), "--run-dir", str(tmp_path / "run"))
    assert [path.name for path in (undisturbed / "export").iterdir() if path.name.isdigit()] == ["1"]
    assert "scored" in (undisturbed / "log0").read_text()
    assert "scored" not in (undisturbed / "log1").read_text()
    found = [np.concatenate([each.ravel() for each in weights_of(folder)]) for folder in (undisturbed, tmp_path)]
    assert np.linalg.norm(found[0] - found[1]) <= 1e-6 * np.linalg.norm(found[1])
    for received, expected in zip(history_of(undisturbed), history_of(tmp_path), strict=True):
        np.testing.assert_allclose(
            *([float(value) for value in row.values()] for row in (received, expected)), rtol=1e-5
        )


@trains_on_replicas
@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_worker_ends_the_others_and_all_started_again_end_as_if_nothing_had_been(
    undisturbed, table, tmp_path, victim
):
    started = workers.start(2, tmp_path, *arguments(table, EPOCHS))
    workers.wait_for_epochs(tmp_path, 2, started)
    started[victim].kill()
    codes = workers.wait(started, tmp_path)
    assert codes[victim] == -signal.SIGKILL
    assert codes[1 - victim] == 75, workers.logs(tmp_path)
    assert "one is gone, or does not answer. Start all again" in (tmp_path / f"log{1 - victim}").read_text()
    started = workers.start(2, tmp_path, *arguments(table, EPOCHS))
    assert workers.wait(started, tmp_path) == [0, 0], workers.logs(tmp_path)
    np.testing.assert_equal(weights_of(tmp_path), weights_of(undisturbed))
    for received, expected in zip(history_of(tmp_path), history_of(undisturbed), strict=True):
        assert received["val_loss"] == expected["val_loss"]
        # The metrics of an epoch that was gone on with are added up in another order.
        assert float(received["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)


@trains_on_replicas
@pytest.mark.slow
def test_an_order_to_stop_for_one_worker_stops_all_after_the_same_step_and_saves(undisturbed, table, tmp_path):
    started = workers.start(2, tmp_path, *arguments(table, EPOCHS))
    workers.wait_for_epochs(tmp_path, 2, started)
    started[1].send_signal(signal.SIGTERM)
    assert workers.wait(started, tmp_path) == [143, 143], workers.logs(tmp_path)
    told = [
        re.search(r"stopped (in epoch \d+, after batch \d+)", (tmp_path / f"log{index}").read_text())
        for index in (0, 1)
    ]
    assert told[0] is not None
    assert told[0][1] == told[1][1]
    started = workers.start(2, tmp_path, *arguments(table, EPOCHS))
    assert workers.wait(started, tmp_path) == [0, 0], workers.logs(tmp_path)
    np.testing.assert_equal(weights_of(tmp_path), weights_of(undisturbed))


@trains_on_replicas
def test_the_command_repeated_after_the_end_does_nothing_and_needs_no_other_worker(undisturbed, table):
    before = sorted(path.name for path in (undisturbed / "export").iterdir())
    [chief] = workers.start(1, undisturbed, *arguments(table, EPOCHS))
    assert workers.wait([chief], undisturbed) == [0]
    assert "finished" in (undisturbed / "log0").read_text()
    assert sorted(path.name for path in (undisturbed / "export").iterdir()) == before


@trains_on_replicas
def test_workers_with_other_data_are_refused_on_all(table, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("\n1", "\n2", 1))
    folder = tmp_path / "folder"
    started = workers.start(2, folder, *arguments(table, 1), sources=[table, other])
    assert workers.wait(started, folder) == [2, 2], workers.logs(folder)
    assert workers.logs(folder).count("expected all workers to have the same data") == 2
    assert not (folder / "run" / "model.keras").exists()


@trains_on_replicas
@pytest.mark.slow
def test_twenty_kills_of_workers_at_random_times_change_no_bit(table, tmp_path):
    """It takes more than 20 starts of two processes."""
    epochs, chance, num_kills = 60, random.Random(0), 0
    expected = tmp_path / "expected"
    assert workers.wait(workers.start(2, expected, *arguments(table, epochs)), expected) == [0, 0]
    while num_kills < 20:
        folder = tmp_path / f"from_{num_kills}"
        for _ in range(4):
            started = workers.start(2, folder, *arguments(table, epochs))
            workers.wait_for_epochs(folder, workers.num_epochs_of(folder) + 1, started)
            time.sleep(chance.random())
            started[chance.randrange(2)].kill()
            assert sorted(workers.wait(started, folder)) == [-signal.SIGKILL, 75], workers.logs(folder)
            num_kills += 1
            if (folder / "run" / "evaluation.json").exists():  # It was killed after the last epoch.
                break
        assert workers.wait(workers.start(2, folder, *arguments(table, epochs)), folder) == [0, 0], workers.logs(folder)
        np.testing.assert_equal(weights_of(folder), weights_of(expected))


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    ],
)
def test_a_cluster_that_is_none_is_refused_in_words_of_the_variable(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="strategy: expected the environment variable TF_CONFIG to tell the workers"):
        training.make_strategy("multi-worker")


def test_unknown_strategies_are_refused():
    with pytest.raises(ValueError, match="expected 'mirrored' or 'multi-worker'; received 'tpu'"):
        training.make_strategy("tpu")
    with tf.distribute.experimental.CentralStorageStrategy().scope():
        model = models.dense((4,), latent_dim=2)
        model.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"expected MirroredStrategy, .* received CentralStorageStrategy"):
        strategies.validate_replicable(model, None)


def test_the_chief_is_the_one_of_that_name_or_the_first_worker(monkeypatch):
    for cluster, task, leads in (
        ({"worker": ["a:1", "b:1"]}, ("worker", 0), True),
        ({"worker": ["a:1", "b:1"]}, ("worker", 1), False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, ("chief", 0), True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, ("worker", 0), False),
    ):
        task = {"type": task[0], "index": task[1]}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert strategies.leads() is leads
    monkeypatch.delenv("TF_CONFIG")
    assert strategies.leads()
    assert strategies.is_chief(None)


def test_the_job_of_kubernetes_is_valid_and_tells_each_worker_its_place(tmp_path):
    service, job = yaml.safe_load_all(JOB.read_text())
    for document in (service, job):
        kubernetes_validate.validate(document, "1.37", strict=True)
    template = job["spec"]["template"]["spec"]
    [container] = template["containers"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert template["subdomain"] == service["metadata"]["name"]
    assert int(container["env"][0]["value"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    (tmp_path / "tfae").write_text('#!/bin/sh\necho "$TF_CONFIG"; echo "$@"\n')
    (tmp_path / "tfae").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WORKERS": "2", "JOB_COMPLETION_INDEX": "1"}
    ended = subprocess.run(
        [*container["command"], *container["args"]], env=environment, capture_output=True, text=True, check=True
    )
    config, command = ended.stdout.splitlines()
    hosts = [f"train-credit-{index}.train-credit:12345" for index in (0, 1)]
    assert json.loads(config) == {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 1}}
    from tfae.cli.train import train

    train.make_context("train", command.split()[1:], resilient_parsing=False).close()
