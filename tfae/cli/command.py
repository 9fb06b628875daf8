"""A command that keeps its outputs away from its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import click

from tfae.cli.tensorflow import import_tensorflow

#: Options that name what is written; arguments, and the run that --resume goes on with, are read.
_OUTPUTS = ("output", "run_dir", "export_dir")
#: A folder of images would hold what was written into it, and a deployment replaces its folder.
_REFUSED = {("inside of it", "source"), ("around it", "saved_models")}


@final
class Command(click.Command):
    """Refuses, before anything is read or written, an output that is an input of the command, or inside of SOURCE."""

    def invoke(self, ctx: click.Context) -> Any:
        """Compare the paths, and run the command."""
        read: list[tuple[click.Argument, Path]] = []
        written: list[tuple[str, Path]] = []
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            if value is None:
                continue
            path = Path(str(value)).expanduser()
            if isinstance(parameter, click.Argument) and path.exists():
                read.append((parameter, path))
            elif isinstance(parameter, click.Option) and parameter.name in _OUTPUTS:
                written.append((parameter.opts[-1], path))
        for option, output in written:
            for argument, source in read:
                relation = _relate(output, source)
                if relation != "the same" and (relation, argument.name) not in _REFUSED:
                    continue
                # Trainings run on oneDNN, what is asked of the models of others does not.
                onednn = None if option == "--output" else "1"
                if argument.name != "source" or not _is_data_set(str(ctx.params["source"]), source, onednn):
                    name = argument.make_metavar(ctx)
                    raise click.UsageError(
                        f"{option}: expected another place than {name}, {source}; received {output}, "
                        f"which is {relation}. Choose one elsewhere."
                    )
        return super().invoke(ctx)


def _is_data_set(value: str, path: Path, onednn: str | None) -> bool:
    """Whether SOURCE names a data set, and not the folder that is called so."""
    if "/" in value or not path.is_dir():
        return False
    # Asked only where it matters: what knows the names imports TensorFlow, which is to be set up first.
    import_tensorflow(onednn=onednn)
    from tfae.datasets import catalog

    return catalog.is_known(value)


def _relate(output: Path, source: Path) -> str | None:
    """What an output is to an input, by their real places; None if they have nothing to do with each other."""
    if output.exists() and output.samefile(source):
        return "the same"
    output, source = output.resolve(), source.resolve()
    if source.is_dir() and output.is_relative_to(source):
        return "inside of it"
    return "around it" if source.is_relative_to(output) else None
