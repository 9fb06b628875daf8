"""What a comparison found: metrics over the seeds, and what it takes for one loss to be better in one."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfae.comparison.probes import PROBES
from tfae.datasets import Data
from tfae.datasets.fingerprint import differences, format_differences, remedy
from tfae.evaluation import METRICS, Metric
from tfae.runs.directory import read_json

#: What the training data that was not corrupted is called.
CLEAN = "clean"
FILE = "comparison.json"


def compared_metrics() -> list[Metric]:
    """Return the metrics that a comparison puts side by side, of the clean test split."""
    return [*(metric for metric in METRICS.values() if metric.in_comparison), *PROBES]


@dataclasses.dataclass(frozen=True)
class SeedValues:
    """Values of a metric, one for each seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, with the n − 1 of a sample; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """``mean ± deviation``, the deviation with two significant digits and the mean with as many decimals.

        Example:
            >>> print(SeedValues((0.1234, 0.1334)), SeedValues((1.5,)))
            0.1284 ± 0.0071 1.5
        """
        if not self.deviation:
            return f"{self.mean:.4g}" + ("" if self.deviation is None else " ± 0")
        decimals = max(0, 1 - math.floor(math.log10(self.deviation)))
        # Of runs that hardly differ, no more than five digits of the mean.
        limit = max(0, 4 - math.floor(math.log10(abs(self.mean) or 1)))
        if decimals > limit:
            return f"{self.mean:,.{limit}f} ± {self.deviation:.1g}"
        return self.text(decimals)

    def text(self, decimals: int) -> str:
        """The same with so many decimals."""
        spread = "" if self.deviation is None else f" ± {self.deviation:,.{decimals}f}"
        return f"{self.mean:,.{decimals}f}{spread}"


def find_winner(metric: Metric, values_by_name: Mapping[str, SeedValues | None]) -> str | None:
    """Return who is better than all others by more than the runs of one differ among themselves.

    The difference between the best mean and the next has to exceed √(s₁² + s₂²), the standard deviations of the two
    over the seeds combined as those of a difference are.

    Returns:
        The name; None if the difference is smaller, or there are fewer than two with values, or than two seeds.

    Example:
        >>> find_winner(METRICS["mse"], {"a": SeedValues((1.0, 1.2)), "b": SeedValues((2.0, 2.2))})
        'a'
        >>> find_winner(METRICS["mse"], {"a": SeedValues((1.0, 2.0)), "b": SeedValues((1.4, 2.4))})
    """
    if metric.better is None:
        return None
    shortfalls = {
        name: SeedValues(tuple(map(metric.shortfall, spread.values)))
        for name, spread in values_by_name.items()
        if spread
    }
    if len(shortfalls) < 2:
        return None
    (name, best), (_, following), *_ = sorted(shortfalls.items(), key=lambda item: item[1].mean)
    if best.deviation is None or following.deviation is None:
        return None
    return name if following.mean - best.mean > math.hypot(best.deviation, following.deviation) else None


@dataclasses.dataclass(frozen=True)
class Row:
    """The runs of one loss on one kind of training data, one for each seed.

    Attributes:
        corruption: Of the training data, ``"clean"`` or ``"outliers=0.02"``.
        loss: Name of the loss.
        runs: The run directories, in the order of the seeds; ``tfae.runs.load_run`` reads them.
        values: Of every metric that is compared, by name, the values of the runs; None where one of them has none.
    """

    corruption: str
    loss: str
    runs: tuple[Path, ...]
    values: Mapping[str, SeedValues | None]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Losses side by side, measured on the clean test split; ``print`` shows it as a table.

    Attributes:
        directory: Holds the runs.
        plan: What was compared on what, JSON-able: "data", "losses", "seeds", "corruptions", "epochs", "model", …
        rows: One for each loss on each kind of training data.
    """

    directory: Path
    plan: dict[str, Any]
    rows: tuple[Row, ...]

    @property
    def winners(self) -> dict[str, dict[str, str]]:
        """By kind of training data and name of the metric, the loss that is better by more than the seeds differ."""
        found = {}
        for corruption, rows in self.blocks.items():
            best = {
                metric.name: find_winner(metric, {row.loss: row.values.get(metric.name) for row in rows})
                for metric in compared_metrics()
            }
            found[corruption] = {name: loss for name, loss in best.items() if loss is not None}
        return found

    @property
    def blocks(self) -> dict[str, list[Row]]:
        """By kind of training data, its rows."""
        return {kind: list(rows) for kind, rows in itertools.groupby(self.rows, lambda row: row.corruption)}

    def table(self, corruption: str) -> dict[str, list[tuple[str, bool]]]:
        """Return by heading of a metric, for each loss, its values in words and whether it is the winner.

        Metrics that no run on this training data has are left out.
        """
        table, rows, winners = {}, self.blocks[corruption], self.winners[corruption]
        for metric in compared_metrics():
            values = {row.loss: row.values.get(metric.name) for row in rows}
            if any(values.values()):
                best = winners.get(metric.name)
                texts = _same_decimals(list(values.values()))
                table[metric.heading] = [(text, loss == best) for loss, text in zip(values, texts, strict=True)]
        return table

    def validate_data(self, data: Data) -> None:
        """Raise ValueError unless data is what the comparison was made on, down to the order of its batches."""
        if found := differences(self.plan["data"], data):
            raise ValueError(
                f"data: expected what the comparison was made on, {self.plan['data']['name']}; received {data.name} "
                f"with other {format_differences(found)}. {remedy(found)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: the plan, the rows with their metrics, and the winners."""
        rows = [
            {
                "corruption": row.corruption,
                "loss": row.loss,
                "runs": [path.relative_to(self.directory).as_posix() for path in row.runs],
                "metrics": {
                    name: each and {"mean": each.mean, "deviation": each.deviation, "values": list(each.values)}
                    for name, each in row.values.items()
                },
            }
            for row in self.rows
        ]
        return {"plan": self.plan, "rows": rows, "winners": self.winners}

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return the tables, as many columns side by side as a width has room for; all of them by default."""
        data, seeds, num_losses = self.plan["data"], self.plan["seeds"], len(self.plan["losses"])
        over = f"mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "one seed, so no spread"
        lines = [
            f"{num_losses} loss{'es' if num_losses > 1 else ''} on {data['num_samples']['test']:,} test samples of "
            f"{data['name']}, latent_dim {self.plan['model']['latent_dim']}, {self.plan['epochs']} epochs; {over}"
        ]
        missing = {metric.heading: None for metric in compared_metrics()}
        for corruption, rows in self.blocks.items():
            cells = [["", *(row.loss for row in rows)]]
            for heading, values in self.table(corruption).items():
                cells.append([heading, *(f"{text}{' *' * is_best}" for text, is_best in values)])
                missing.pop(heading, None)
            titles, *columns = (
                [text.ljust(max(map(len, column))) for text in column] for column in zip(*cells, strict=True)
            )
            lines += ["", f"trained on {corruption} data"]
            table = titles
            for column in columns:
                if table is not titles and width is not None and len(table[0]) + 2 + len(column[0]) > width:
                    lines += [*map(str.rstrip, table), ""]
                    table = titles
                table = [f"{before}  {text}" for before, text in zip(table, column, strict=True)]
            lines += map(str.rstrip, table)
        lines.append("")
        if any(self.winners.values()):
            lines.append("* best, by more than the spread over the seeds")
        if missing:
            lines.append(f"n/a for all: {', '.join(missing)}")
        return "\n".join(lines).rstrip()


def _same_decimals(row: Sequence[SeedValues | None]) -> list[str]:
    """Return values in words, with as many decimals as the one that needs most."""
    texts = [str(each or "n/a") for each in row]
    decimals = max(len(text.split()[0].partition(".")[2]) for text in texts)
    if not decimals or any("e" in text for text in texts):
        return texts
    return ["n/a" if each is None else each.text(decimals) for each in row]


def load_comparison(run_dir: str | os.PathLike[str]) -> Comparison:
    """Read a finished comparison from its directory, wherever that has been moved; ValueError if there is none."""
    directory = Path(run_dir)
    try:
        read = read_json(directory / FILE)
        rows = tuple(
            Row(
                corruption=row["corruption"],
                loss=row["loss"],
                runs=tuple(directory / path for path in row["runs"]),
                values={name: each and SeedValues(tuple(each["values"])) for name, each in row["metrics"].items()},
            )
            for row in read["rows"]
        )
        return Comparison(directory, read["plan"], rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"run_dir: expected the directory of a finished comparison; received {directory} ({error}). Call compare, "
            "or tfae compare, with the same arguments to finish one that was stopped."
        ) from error
