"""A command that keeps its outputs away from its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import click

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
            if isinstance(parameter, click.Argument):
                if value is not None and _is_path(str(value)):
                    read.append((parameter, Path(value).expanduser()))
            elif parameter.name in _OUTPUTS and value is not None:
                written.append((parameter.opts[-1], Path(value).expanduser()))
        for option, output in written:
            for argument, source in read:
                relation = _relate(output, source)
                if relation == "the same" or (relation, argument.name) in _REFUSED:
                    name = argument.make_metavar(ctx)
                    raise click.UsageError(
                        f"{option}: expected another place than {name}, {source}; received {output}, "
                        f"which is {relation}. Choose one elsewhere."
                    )
        return super().invoke(ctx)


def _is_path(value: str) -> bool:
    """Whether a value names something that is there, and is no data set of that name."""
    path = Path(value).expanduser()
    if not path.exists():
        return False
    if path.is_dir() and "/" not in value:
        from tfae.datasets import catalog

        return not catalog.is_known(value)
    return True


def _relate(output: Path, source: Path) -> str | None:
    """What an output is to an input, by their real places; None if they have nothing to do with each other."""
    if output.exists() and output.samefile(source):
        return "the same"
    output, source = output.resolve(), source.resolve()
    if source.is_dir() and output.is_relative_to(source):
        return "inside of it"
    return "around it" if source.is_relative_to(output) else None
