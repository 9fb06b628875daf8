"""What a comparison found."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfae.comparison.seed_values import SeedValues, compared_metrics, find_winner
from tfae.datasets import Data
from tfae.datasets.fingerprint import differences, format_differences, remedy

#: What the training data that was not corrupted is called.
CLEAN = "clean"
FILE = "comparison.json"


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
        found: dict[str, dict[str, str]] = {}
        for corruption, rows in self._blocks().items():
            found[corruption] = {}
            for metric in compared_metrics():
                best = find_winner(metric, {row.loss: row.values.get(metric.name) for row in rows})
                if best is not None:
                    found[corruption][metric.name] = best
        return found

    def validate_data(self, data: Data) -> None:
        """Check that data is what the comparison was made on.

        Raises:
            ValueError: If its samples, scaling, value range, labels, batches or their order are others.
        """
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
        """A table for each kind of training data, with a line for each metric and a column for each loss."""
        data, seeds, num_losses = self.plan["data"], self.plan["seeds"], len(self.plan["losses"])
        over = f"mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "one seed, so no spread"
        lines = [
            f"{num_losses} loss{'es' if num_losses > 1 else ''} on {data['num_samples']['test']:,} test samples of "
            f"{data['name']}, "
            f"latent_dim {self.plan['model']['latent_dim']}, {self.plan['epochs']} epochs; {over}"
        ]
        winners = self.winners
        for corruption, rows in self._blocks().items():
            cells = [["", *(row.loss for row in rows)]]
            for metric in compared_metrics():
                if all(row.values.get(metric.name) is None for row in rows):
                    continue
                best = winners[corruption].get(metric.name)
                values = [_cell(row.values.get(metric.name), is_winner=row.loss == best) for row in rows]
                cells.append([metric.heading, *values])
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            lines += ["", f"trained on {corruption} data"]
            lines += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
        missing = [m.heading for m in compared_metrics() if all(row.values.get(m.name) is None for row in self.rows)]
        lines.append("")
        if any(winners.values()):
            lines.append("* best, by more than the spread over the seeds")
        if missing:
            lines.append(f"n/a for all: {', '.join(missing)}")
        return "\n".join(lines).rstrip()

    def _blocks(self) -> dict[str, list[Row]]:
        blocks: dict[str, list[Row]] = {}
        for row in self.rows:
            blocks.setdefault(row.corruption, []).append(row)
        return blocks


def load_comparison(run_dir: str | os.PathLike[str]) -> Comparison:
    """Read a finished comparison.

    Args:
        run_dir: What :func:`compare` was given, wherever it has been moved since.

    Raises:
        ValueError: If there is no finished comparison.
    """
    directory = Path(run_dir)
    try:
        read = json.loads((directory / FILE).read_text(encoding="utf-8"))
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


def _cell(values: SeedValues | None, *, is_winner: bool) -> str:
    return "n/a" if values is None else f"{values}{' *' if is_winner else ''}"
