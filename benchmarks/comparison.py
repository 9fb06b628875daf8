"""What each loss makes of the same model: ``python -m benchmarks.comparison``.

``tfae.comparison.compare`` on fashion_mnist and mnist: the default dense model under squared error, absolute error and
cross-entropy, three seeds each. It prints a table for each data set, in the metrics that losses have in common, and
the same as Markdown for the docs. With ``--output-activation`` the last layer of squared and absolute error is another
one than pixels call for. The data sets come from the original files in ``$TFAE_DATA_DIR``, or from where TFDS has them.
A benchmark that was stopped goes on.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine
from benchmarks.schedule import LARGE, load

EPOCHS = 10


def compare(data: Any, replacement: str | None, **arguments: Any) -> Any:
    from tfae import comparison, models

    def build(output_activation: Any) -> Any:
        if replacement and output_activation != "linear":  # That is what the logits of cross-entropy have.
            output_activation = replacement
        return models.dense(data.shape, latent_dim=16, output_activation=output_activation)

    return comparison.compare(data, build=build, verbose=False, **arguments)


def draw(found: Any, data: Any, path: Path) -> None:
    """The same test samples as the model of each loss reconstructs them, of the first seed."""
    from tfae import runs
    from tfae.report import drawing

    models = {row.loss: runs.load_run(row.runs[0]).autoencoder for row in found.rows}
    drawing.draw_side_by_side(path.stem, models, data).save(path.parent)


def as_markdown(found: Any) -> str:
    """The table, a line for each metric; the winner of a line is bold."""
    from tfae import comparison

    winners = found.winners[comparison.result.CLEAN]
    titles = [f"`{row.loss}`" for row in found.rows]
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for metric in comparison.compared_metrics():
        values = {row.loss: row.values.get(metric.name) for row in found.rows}
        if any(values.values()):
            best = winners.get(metric.name)
            cells = ["n/a" if each is None else str(each) for each in values.values()]
            cells = [f"**{cell}**" if loss == best else cell for loss, cell in zip(values, cells, strict=True)]
            lines.append(f"| {metric.heading} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="two seeds and one epoch on the digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=LARGE, choices=LARGE)
    parser.add_argument("--output-activation", choices=["sigmoid", "linear"], help="of squared and absolute error")
    parser.add_argument("--picture", type=Path, help="draw what came out on the first data set, too, to a .png file")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    names, seeds, epochs = (["digits"], 2, 1) if arguments.smoke else (arguments.data, arguments.seeds, EPOCHS)
    kind = f"comparison_{arguments.output_activation}" if arguments.output_activation else "comparison"
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            run_dir = (Path(scratch) if arguments.smoke else machine.RESULTS / kind) / name
            try:
                data = load(name, 0)
                found = compare(data, arguments.output_activation, seeds=seeds, epochs=epochs, run_dir=run_dir)
            except ValueError as error:
                console.print(f"{name} is left out: {error}")
                continue
            console.print(str(found), highlight=False, soft_wrap=True, markup=False)
            if arguments.picture and not results:
                draw(found, data, arguments.picture)
            results[name] = {**found.as_dict(), "markdown": as_markdown(found)}
            machine.write(kind, {"machine": about, "smoke": arguments.smoke, "results": results})
    for name, result in results.items():
        console.print(f"\n{name}\n\n{result['markdown']}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"written to benchmarks/results/{kind}.json")


if __name__ == "__main__":
    main()
