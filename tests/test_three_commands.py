"""Files as people have them, from the file to REST by name and to scores with reasons: train, serve and score."""

import csv
import json
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from tests.commands import run
from tfae.serving import LocalServer

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)


def make_transactions(num=3000):
    """Like card payments: a time, an amount and anonymous components, and a rare class."""
    fraud = RNG.random(num) < 0.01
    components = RNG.normal(size=(num, 12)) @ RNG.normal(size=(12, 12)) + 6 * fraud[:, None]
    columns = {"time": np.sort(RNG.uniform(0, 172800, num)).round(), "amount": RNG.gamma(1.2, 70, num).round(2)}
    return columns | {f"v{index}": components[:, index] for index in range(12)} | {"class": fraud.astype(int)}


def make_connections(num=3000):
    """Like the connections of a network: 41 columns, of which three hold texts, and a label."""
    attack = RNG.random(num) < 0.02
    columns = {
        "duration": RNG.poisson(3, num),
        "protocol": RNG.choice(["tcp", "udp", "icmp"], num, p=[0.7, 0.2, 0.1]),
        "service": np.where(attack, "telnet", RNG.choice(["http", "smtp", "dns", "ftp"], num)),
        "flag": np.where(attack, "S0", RNG.choice(["SF", "REJ"], num, p=[0.9, 0.1])),
    }
    rates = RNG.random((num, 37)) * np.where(attack, 3, 1)[:, None]
    columns |= {f"rate_{index}": rates[:, index].round(2) for index in range(37)}
    return columns | {"label": np.where(attack, "attack", "normal")}


def make_sensors(num=3000):
    """Like the sensors of a machine: a timestamp every five minutes, some of which are missing."""
    times = np.datetime64("2026-01-01T00:00") + np.delete(
        np.arange(num + 5), [500, 501, 502, 503, 504]
    ) * np.timedelta64(5, "m")
    day = np.arange(num) * 2 * np.pi / 288
    columns = {"timestamp": [str(time).replace("T", " ") + ":00" for time in times]}
    return columns | {
        name: np.sin(day + index) + 0.1 * RNG.normal(size=num) for index, name in enumerate(("heat", "load"))
    }


FILES = {
    "transactions": (make_transactions, "--label class --drop time", "--keep time"),
    "connections": (make_connections, "--label label", "--keep duration,service"),
    "sensors": (make_sensors, "--window 48 --stride 4 --time timestamp", ""),
}


@pytest.mark.filterwarnings("ignore:.* are not the usual 300 s")
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_trained_on_served_by_name_and_scored_with_reasons(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, train_options, score_options = FILES[name]
    columns = make()
    pa.csv.write_csv(pa.table(columns), f"{name}.csv")
    run("train", f"{name}.csv", *train_options.split(), "--epochs", 5)
    score = (
        "score",
        f"saved_models/{name}",
        f"{name}.csv",
        "-o",
        "scores.csv",
        "--explain",
        3 if name != "sensors" else 2,
    )
    run(*score, *score_options.split(), *(["--label", "class"] if name == "transactions" else []))
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3000
    assert all(row["reason"] == "" and row["feature_2"] in columns for row in rows)
    names = [key for key in columns if key not in ("class", "label", "time", "timestamp")]
    if name == "sensors":
        sent = [[[float(columns[key][row + step]) for key in names] for step in range(48)] for row in range(3)]
    else:
        sent = [{key: np.asarray(columns[key])[row].item() for key in names} for row in range(3)]
    with LocalServer(f"saved_models/{name}") as server:  # What `tfae serve` starts.
        url = f"{server.rest_url}/v1/models/{name}:predict"
        body = json.dumps({"signature_name": "explain", "instances": sent}).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as reply:
            answers = json.load(reply)["predictions"]
    if name == "sensors":
        np.testing.assert_array_equal(np.shape([answer["feature_score"] for answer in answers]), (3, 48, 2))
        return
    for row, answer in zip(rows, answers, strict=False):
        np.testing.assert_allclose(answer["instance_score"], float(row["instance_score"]), rtol=1e-4)
        assert names[int(np.argmax(answer["feature_score"]))] == row["feature_1"]
