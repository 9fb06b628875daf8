"""What a comparison found."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfae.comparison.yardsticks import YARDSTICKS, Spread, winner
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
        runs: The run directories, in the order of the seeds; ``tfae.training.load_run`` reads them.
        spreads: Of every yardstick, by name, the values of the runs; None where one of them has none.
    """

    corruption: str
    loss: str
    runs: tuple[Path, ...]
    spreads: Mapping[str, Spread | None]


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
        """By kind of training data and name of the yardstick, the loss that is better by more than the spread."""
        found: dict[str, dict[str, str]] = {}
        for corruption, rows in self._blocks().items():
            found[corruption] = {}
            for yardstick in YARDSTICKS:
                best = winner(yardstick, {row.loss: row.spreads[yardstick.name] for row in rows})
                if best is not None:
                    found[corruption][yardstick.name] = best
        return found

    def refuse_other(self, data: Data) -> None:
        """Refuse data that is not what the comparison was made on.

        Raises:
            ValueError: If its samples, scaling, value range, labels, batches or their order are others.
        """
        if found := differences(self.plan["data"], data):
            raise ValueError(
                f"data: expected what the comparison was made on, {self.plan['data']['name']}; received {data.name} "
                f"with other {format_differences(found)}. {remedy(found)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: the plan, the rows with their measures, and the winners."""
        rows = [
            {
                "corruption": row.corruption,
                "loss": row.loss,
                "runs": [path.relative_to(self.directory).as_posix() for path in row.runs],
                "measures": {
                    name: None
                    if spread is None
                    else {"mean": spread.mean, "deviation": spread.deviation, "values": list(spread.values)}
                    for name, spread in row.spreads.items()
                },
            }
            for row in self.rows
        ]
        return {"plan": self.plan, "rows": rows, "winners": self.winners}

    def __str__(self) -> str:
        """A table for each kind of training data, with a line for each yardstick and a column for each loss."""
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
            for yardstick in YARDSTICKS:
                if all(row.spreads[yardstick.name] is None for row in rows):
                    continue
                best = winners[corruption].get(yardstick.name)
                values = [_cell(row.spreads[yardstick.name], is_winner=row.loss == best) for row in rows]
                cells.append([yardstick.title, *values])
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            lines += ["", f"trained on {corruption} data"]
            lines += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
        missing = [y.title for y in YARDSTICKS if all(row.spreads[y.name] is None for row in self.rows)]
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
                spreads={
                    name: None if measure is None else Spread(tuple(measure["values"]))
                    for name, measure in row["measures"].items()
                },
            )
            for row in read["rows"]
        )
        return Comparison(directory, read["plan"], rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"run_dir: expected the directory of a finished comparison; received {directory} ({error}). Call compare, "
            "or tfae compare, with the same arguments to finish one that was stopped."
        ) from error


def _cell(spread: Spread | None, *, is_winner: bool) -> str:
    return "n/a" if spread is None else f"{spread}{' *' if is_winner else ''}"
