"""How well and at what cost anomalies are found, and how rare false alarms are: ``python -m benchmarks.anomalies``.

``auroc``: the 16 sets under $TFAE_DATA_DIR, by the protocol of Livernoche et al., On Diffusion Modeling for Anomaly
Detection (ICLR 2024): training on the first half of the normal rows, in the order of the file, and testing on all other
rows; beside the AUROC that they published of other detectors. ``rates``: false alarms among normal rows that are fresh,
next to what the promise of split conformal calibration allows. ``cost``: seconds and peak memory of a process that fits
and scores, of ours and of PyOD's detectors. ``throughput``: rows per second of an exported model. ``events``: of series
of NAB, whose first 15 % is trained and calibrated on as normal, how many of the labelled windows after that have an
alarm in them, and how many events there are outside of them.
"""

import argparse
import csv
import functools
import importlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.machine import ROOT

DATA = Path(os.environ.get("TFAE_DATA_DIR", ROOT.parent / "shared" / "data"))
#: By the name in the published table.
FILES = {path.stem.partition("_")[2].lower(): path for path in sorted(DATA.glob("adbench/*.npz"))}
#: Those that the mean over the first eleven is without.
LAST_FIVE = ("fault", "pageblocks", "waveform", "wilt", "yeast")
PUBLISHED = ("KNN", "LOF", "DTE-NP", "DTE-C", "FeatureBagging", "ICL", "DDPM", "VAE", "PCA")
SECTIONS = ("auroc", "rates", "cost", "throughput", "events")
OURS, PLAIN = "Denoiser", "autoencoder"
STEPS, BATCH_SIZE = 2000, 128
MOST_ROWS = 50_000
RATES, CONFIDENCE = (0.01, 0.05, 0.1), 0.999
PYOD = ("AutoEncoder", "ECOD", "KNN", "IForest")
COST_SETS = ("cardio", "pendigits", "shuttle")
SERIES = (
    "machine_temperature_system_failure",
    "ambient_temperature_system_failure",
    "art_daily_jumpsup",
    "art_daily_small_noise",
)
#: Steps of a window, the shares of a series, and of false alarms.
WINDOW, SHARES, EVENT_RATE = 48, (0.1, 0.05, 0.85), 0.005
#: Points of AUROC below another contestant from which on it is said.
BEHIND = 2

#: What gives samples, (n, d), their scores.
Score = Callable[[np.ndarray], np.ndarray]
#: Writes down what a section has found so far.
Write = Callable[[Any], None]


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows, float64 (n, d), and whether they are anomalies."""
    with np.load(FILES[name]) as archive:
        x, y = archive["X"].astype("float64"), archive["y"].astype(bool)
    drawn = np.random.RandomState(0).permutation(len(x))[:MOST_ROWS] if len(x) > MOST_ROWS else np.arange(len(x))
    return x[drawn], y[drawn]


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All of them, float32, by mean and deviation of the first."""
    scale = train.std(axis=0)
    scale[scale < 1e-9] = 1
    return [((each - train.mean(axis=0)) / scale).astype("float32") for each in (train, *others)]


def split(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training and test samples of the protocol, and whether the latter are anomalies."""
    x, y = load(name)
    normal = np.flatnonzero(~y)
    is_test = np.ones(len(y), bool)
    is_test[normal[: len(normal) // 2]] = False
    x, test = standardise(x[~is_test], x[is_test])
    return x, test, y[is_test]


def fit(model: Any, x: np.ndarray, *, steps: int, learning_rate: float, seed: int) -> None:
    """Train for so many batches, each epoch in another order."""
    import tensorflow as tf

    from tfae import losses, schedule

    rng, num_rows = np.random.default_rng(seed), steps * BATCH_SIZE
    rows = np.concatenate([rng.permutation(len(x)) for _ in range(-(-num_rows // len(x)))])[:num_rows]
    samples = tf.constant(x)
    batches = tf.data.Dataset.from_tensor_slices(rows.reshape(steps, BATCH_SIZE))
    batches = batches.map(lambda batch: (tf.gather(samples, batch),) * 2)
    optimizer = schedule.adam(steps, learning_rate)
    model.compile(optimizer, losses.SquaredError(), jit_compile=True, steps_per_execution=min(50, steps))
    model.fit(batches, verbose=0, shuffle=False)


def train(contestant: str, x: np.ndarray, seed: int, steps: int) -> Score:
    import keras
    import tensorflow as tf

    from tfae import models, training

    keras.utils.set_random_seed(seed)
    model: Any
    if contestant == OURS:
        rows = np.random.default_rng(seed).permutation(len(x))  # Ours holds a tenth of the training rows out.
        held_out, x = np.split(x[rows], [len(x) // 10])
        model = models.Denoiser(x.shape[1:])
        model.adapt(x)
        fit(model, x, steps=steps, learning_rate=0.001, seed=seed)
        model.adapt_score(x, held_out)
        run = tf.function(lambda x: tf.reduce_sum(model.score_elements(x), axis=1), reduce_retracing=True)
    else:
        model = models.dense(x.shape[1:], latent_dim=models.default_latent_dim(x.shape[1:]))
        fit(model, x, steps=steps, learning_rate=training.default_learning_rate(model), seed=seed)
        run = tf.function(lambda x: model.loss.per_sample(x, model(x)), reduce_retracing=True)
    return lambda x: np.concatenate([run(tf.constant(part)).numpy() for part in np.array_split(x, -(-len(x) // 4096))])


def pyod(name: str) -> Any:
    """One of its detectors, as it comes."""
    stem = {"AutoEncoder": "auto_encoder"}.get(name, name.lower())
    module = importlib.import_module(f"pyod.models.{stem}")
    return getattr(module, name)()


def report(line: str) -> None:
    """At once, so that what is interrupted has told something."""
    print(line, flush=True)


def measure_auroc(names: list[str], seeds: int, steps: int, write: Write, console: Console) -> None:
    """By set and contestant, AUROC and average precision in % for each seed."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    from tfae.detection.truth import trivial_scores

    with (DATA / "published" / "dte_iclr2024_semisupervised_auroc.csv").open() as file:
        published = {row["dataset"]: row for row in csv.DictReader(file)}
    sets: dict[str, dict[str, list[list[float]]]] = {}
    result: dict[str, Any] = {"seeds": seeds, "steps": steps, "sets": sets}
    for name in names:
        x, test, is_anomaly = split(name)
        scores = {each: [train(each, x, seed, steps)(test) for seed in range(seeds)] for each in (OURS, PLAIN)}
        scores |= {each: [found] for each, found in trivial_scores(x, test).items()}
        sets[name] = {
            each: [[100 * float(f(is_anomaly, s)) for s in found] for f in (roc_auc_score, average_precision_score)]
            for each, found in scores.items()
        }
        write(result)
        report(f"{name}: AUROC " + ", ".join(f"{each} {_spread(found[0])}" for each, found in sets[name].items()))
    first = [name for name in FILES if name not in LAST_FIVE]
    groups = {f"mean of {len(each)}": each for each in (names, first) if len(each) > 1 and set(each) <= set(names)}
    members = {name: [name] for name in names} | groups
    for index, figure in enumerate(("auroc", "average precision")):
        table = Table("", *scores, title=f"{figure} in %, mean ± deviation over seeds")
        for title, of in members.items():
            means = {each: np.mean([sets[name][each][index] for name in of], axis=0).tolist() for each in scores}
            table.add_row(title, *map(_spread, means.values()))
            result.setdefault(figure, {})[title] = means
        console.print(table)
    table = Table("", OURS, *PUBLISHED, title="auroc in %, and as published")
    for title, of in members.items():
        others = {each: float(np.mean([float(published[name][each]) for name in of])) for each in PUBLISHED}
        table.add_row(title, *(f"{each:.1f}" for each in (np.mean(result["auroc"][title][OURS]), *others.values())))
        result.setdefault("published", {})[title] = others
    console.print(table)
    for each in list(scores)[1:]:
        lag = {name: float(np.mean(found[each][0]) - np.mean(found[OURS][0])) for name, found in sets.items()}
        behind = {name: points for name, points in lag.items() if points > BEHIND}
        result.setdefault("behind", {})[each] = behind
        where = ", ".join(f"{name} by {points:.1f}" for name, points in behind.items()) or "nowhere"
        report(f"{OURS} more than {BEHIND} points below {each}: {where}")
    write(result)


def _spread(values: Any) -> str:
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def measure_rates(names: list[str], steps: int, write: Write, console: Console) -> None:
    """By set and rate, alarms among fresh normal rows, and between which numbers they are with 99.9 %."""
    from scipy.stats import betabinom

    from tfae.detection.calibration import Calibration, Quantiles, num_alarms

    result: dict[str, Any] = {"steps": steps, "sets": {}, "outside": []}
    table = Table("", "fresh", *(f"rate {rate:.0%}" for rate in RATES), title="false alarms, and their 99.9 % interval")
    for name in names:
        x, y = load(name)
        normal = np.random.default_rng(0).permutation(x[~y])
        parts = np.split(normal, [int(0.6 * len(normal)), int(0.8 * len(normal))])
        samples, calibration, fresh = standardise(parts[0], *parts)[1:]
        score = train(OURS, samples, 0, steps)
        quantiles, scores, n = Quantiles.of(score(calibration)), score(fresh), len(calibration)
        rows, cells = {}, []
        for rate in RATES:
            alarms = int(Calibration(false_alarm_rate=rate, quantiles=quantiles).is_outlier(scores).sum())
            allowed = num_alarms(rate, n)
            low, high = map(int, betabinom(len(fresh), allowed, n + 1 - allowed).interval(CONFIDENCE))
            rows[str(rate)] = {"alarms": alarms, "rate": alarms / len(fresh), "low": low, "high": high}
            is_within = low <= alarms <= high
            result["outside"] += [] if is_within else [f"{name} at {rate:.0%}"]
            cells.append(f"{alarms / len(fresh):.1%}: {alarms} ({low} – {high}){'' if is_within else ' !'}")
        result["sets"][name] = {"calibration": n, "fresh": len(fresh), "rates": rows}
        write(result)
        report(f"{name}: {'; '.join(cells)}")
        table.add_row(name, f"{len(fresh):,}", *cells)
    console.print(table)
    report(f"outside of the {CONFIDENCE:.1%} interval: {', '.join(result['outside']) or 'none'}")


def measure_cost(names: list[str], smoke: bool, write: Write, console: Console) -> None:
    """By set and contestant, the seconds "fit" and "score", "peak_mb", and "auroc" in %."""
    result: dict[str, Any] = {}
    table = Table("", "", "fit, s", "score, s", "peak MB", "auroc, %", title="a process of its own for each")
    for name, contestant in itertools.product(names, (OURS, *PYOD)):
        command = [sys.executable, "-m", "benchmarks.anomalies", "--cost-of", contestant, "--sets", name]
        command += ["--smoke"] * smoke
        child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(child.stdout.splitlines()[-1])
        if "left_out" in found:
            report(f"{contestant} is left out: {found['left_out']}. The extra bench installs it.")
            continue
        result.setdefault(name, {})[contestant] = found
        write(result)
        report(f"{name}: {contestant} {found}")
        cells = f"{found['fit']:.1f}", f"{found['score']:.2f}", f"{found['peak_mb']:.0f}", f"{found['auroc']:.1f}"
        table.add_row(name, contestant, *cells)
    console.print(table)


def measure_cost_of(contestant: str, name: str, steps: int) -> dict[str, Any]:
    """What a process of its own does; imports are not counted."""
    from sklearn.metrics import roc_auc_score

    x, test, is_anomaly = split(name)
    try:
        detector = None if contestant == OURS else pyod(contestant)
    except ImportError as error:
        return {"left_out": str(error)}
    if detector is None:
        importlib.import_module("tfae.training")
    start = time.perf_counter()
    score = train(OURS, x, 0, steps) if detector is None else detector.fit(x).decision_function
    fitted = time.perf_counter()
    scores = score(test)
    seconds = {"fit": fitted - start, "score": time.perf_counter() - fitted}
    # Not ru_maxrss, which a process has from the one that started it.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    auroc = 100 * float(roc_auc_score(is_anomaly, scores))
    return {**seconds, "peak_mb": int(line.split()[1]) / 1024, "auroc": auroc}


def measure_throughput(num_rows: int, num_rounds: int, write: Write, console: Console) -> None:
    """Seconds in which exported models score all rows of 32 numbers, by contestant and round."""
    from tfae import datasets, export, losses, models, training

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(num_rows, 4)) @ rng.normal(size=(4, 32)) + 0.1 * rng.normal(size=(num_rows, 32))
    rows = rows.astype("float32")
    data = datasets.load(rows[:5000])
    result: dict[str, list[float]] = {}
    table = Table("", "seconds", "rows/s", title=f"scores of {num_rows:,} × 32 numbers by an exported model")
    for name, model in {OURS: models.denoiser(data), PLAIN: models.dense(data.shape, latent_dim=16)}.items():
        training.compile(model, losses.SquaredError(), data, epochs=1)
        model.fit(data.train, epochs=1, verbose=0, shuffle=False)
        if isinstance(model, models.Denoiser):
            model.adapt_score(data.train_from(0), data.validation)
        with tempfile.TemporaryDirectory() as folder:
            loaded = export.load(export.save(model, Path(folder) / "model", data=data))
            loaded.score(rows[:20_000])
            result[name] = []
            for _ in range(num_rounds):
                start = time.perf_counter()
                loaded.score(rows)
                result[name].append(time.perf_counter() - start)
        write(result)
        middle = float(np.median(result[name]))
        table.add_row(name, f"{middle:.2f}", f"{num_rows / middle:,.0f}")
    console.print(table)


def measure_events(epochs: int, write: Write, console: Console) -> None:
    import keras

    from tfae import datasets, detection, evaluation, losses, models, training

    labels = json.loads((DATA / "nab" / "combined_windows.json").read_text(encoding="utf-8"))
    labels = {Path(name).stem: np.array(windows, "datetime64[s]") for name, windows in labels.items()}
    found: dict[str, Any] = {}
    title = f"events, at a false-alarm rate of {EVENT_RATE:g} of the windows of {WINDOW} steps"
    table = Table("", "steps", "labelled hit", "alarms", "events outside", "a week", title=title)
    for name in SERIES:
        path = DATA / "nab" / f"{name}.csv"
        keras.utils.set_random_seed(0)
        data = datasets.load(path, window=WINDOW, time="timestamp", splits=SHARES)
        model = models.convolutional(data.shape, latent_dim=8)
        training.compile(model, losses.SquaredError(), data, epochs=epochs)
        model.fit(data.train, epochs=epochs, verbose=0, shuffle=False)
        rate = max(EVENT_RATE, 1 / (len(data.raw.validation) + 1))
        calibration = detection.calibrate(model, data, false_alarm_rate=rate)
        scores = evaluation.scores(model, data.test)
        times = np.loadtxt(path, "U19", delimiter=",", skiprows=1, usecols=0).astype("datetime64[s]")
        assert data.origins is not None
        ends = times[data.origins.test + WINDOW - 1]
        alarms = calibration.is_outlier(scores)
        windows = [each for each in labels[name] if each[1] >= ends[0]]
        hits = sum(bool(alarms[(ends >= start) & (ends <= end)].any()) for start, end in windows)
        events = detection.find_events(alarms, scores, max_gap=WINDOW)
        outside = sum(not any(ends[e.end] >= start and ends[e.start] <= end for start, end in windows) for e in events)
        weeks = (ends[-1] - ends[0]) / np.timedelta64(7, "D")
        found[name] = {
            "rate": rate, "windows": len(windows), "hits": hits, "outside": outside, "weeks": weeks,
            "alarm_rate": float(alarms.mean()),
        }  # fmt: skip
        write(found)
        line = [
            f"{len(alarms):,}",
            f"{hits} of {len(windows)}",
            f"{alarms.mean():.1%}",
            str(outside),
            f"{outside / weeks:.1f}",
        ]
        report(f"{name}: {', '.join(line)}")
        table.add_row(name, *line)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="few steps and rows, one seed, one set")
    parser.add_argument("--sets", nargs="+", choices=sorted(FILES), metavar="NAME", help="by default all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--cost-of", metavar="CONTESTANT", help="what a process of its own does")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    steps = 20 if options.smoke else STEPS
    if options.cost_of:
        print(json.dumps(measure_cost_of(options.cost_of, options.sets[0], steps)))
        return
    console = Console(width=130)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    names = options.sets or [name for name in FILES if not options.smoke or name == COST_SETS[0]]
    cost_names = options.sets or [name for name in COST_SETS if name in names]
    write_section = machine.section_writer("anomalies", about, smoke=options.smoke)

    for section in options.sections:
        write = functools.partial(write_section, section)
        if section != "throughput" and not names:
            console.print(f"{section} is left out: there are no data sets in {DATA}.")
        elif section == "auroc":
            measure_auroc(names, 1 if options.smoke else options.seeds, steps, write, console)
        elif section == "rates":
            measure_rates(names, steps, write, console)
        elif section == "cost":
            measure_cost(cost_names, options.smoke, write, console)
        elif section == "events":
            measure_events(1 if options.smoke else 30, write, console)
        else:
            measure_throughput(*((5000, 1) if options.smoke else (1_000_000, 3)), write, console)
    console.print("written to benchmarks/results/anomalies.json")


if __name__ == "__main__":
    main()
