"""Events of scored time series, in a file: a row for each run of alarms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfae.atomic_write import validate_apart
from tfae.datasets import Source
from tfae.detection import find_events
from tfae.export import SavedAutoencoder
from tfae.scoring.score_file import ScoreFile, read_scores


def validate_events(path: Path, source: Source, model: SavedAutoencoder, scores: Path) -> None:
    """Raise ValueError unless there can be events of a source, in a file of their own."""
    validate_apart("events", path, scores)
    if not source.is_windowed:
        raise ValueError(f"events: expected None for what is no time series; received {path}.")
    if not model.detects:
        raise ValueError(
            f"events: expected a model with a calibration; received {model.path}, which raises no alarms. Calibrate "
            "it: tfae calibrate."
        )


def write_events(path: Path, scores: Path, source: Source) -> int:
    """Write the events in a file of scores of time series into another, and return how many there are.

    An event ends where no alarm follows within a window. It has the columns ``part``, that of the groups if there are
    several series, ``start``, ``end`` and ``peak``, as times or else as indices, ``instance_score``, that at the peak,
    ``num_alarms``, and the features that contribute most at the peak, if they were asked for.
    """
    part = next(iter(source.parts.values()))
    time, group, window = getattr(part, "time", None), getattr(part, "group", None), part.shape[0]
    table = read_scores(scores)
    keys = ["part", *([group] if group else [])]
    place = time or "index"
    beside = [name for name in table.column_names if name.startswith("feature_")]
    found = []
    series = table.select(keys).group_by(keys, use_threads=False).aggregate([]).to_pylist()
    for of_series in series:
        rows = np.ones(len(table), bool)
        for name, value in of_series.items():
            rows &= pc.fill_null(pc.equal(table[name], value), value is None).to_numpy()
        steps = table.filter(pa.array(rows))
        if time:
            steps = steps.sort_by(time)
        alarms = pc.fill_null(steps["is_outlier"], False).to_numpy()
        values = pc.fill_null(pc.cast(steps["instance_score"], pa.float64()), np.nan).to_numpy()
        for event in find_events(alarms, values, max_gap=window):
            at_peak = steps.slice(event.peak, 1).to_pylist()[0]
            found.append(
                {
                    **of_series,
                    "start": steps[place][event.start].as_py(),
                    "end": steps[place][event.end].as_py(),
                    "peak": at_peak[place],
                    "instance_score": at_peak["instance_score"],
                    "num_alarms": event.num_alarms,
                    **{name: at_peak[name] for name in beside},
                }
            )
    types = {name: table.schema.field(name).type for name in [*keys, "instance_score", *beside]}
    types |= dict.fromkeys(("start", "end", "peak"), table.schema.field(place).type) | {"num_alarms": pa.int64()}
    order = [*keys, "start", "end", "peak", "instance_score", "num_alarms", *beside]
    with ScoreFile(path) as file:
        file.write(pa.Table.from_pylist(found, pa.schema([(name, types[name]) for name in order])))
    return len(found)
