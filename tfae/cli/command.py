"""A command whose outputs are none of its inputs, and whose errors speak of its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import click

from tfae.atomic_write import validate_apart
from tfae.cli.tensorflow import import_tensorflow
from tfae.patterns import is_pattern

#: Options that name what is written; all other paths are read.
_OUTPUTS = ("output", "export_dir", "access_log", "run_dir")


@final
class Command(click.Command):
    """Refuses, before anything is read or written, an output that is an input, or inside of one."""

    def invoke(self, ctx: click.Context) -> Any:
        """Compare the paths, and run the command."""
        ctx.find_root().obj = ctx  # Whose options errors and warnings speak of.
        written: dict[str, Path] = {}
        read: dict[str, Path] = {}
        for parameter in self.params:
            name, value = parameter.name or "", ctx.params.get(parameter.name or "")
            if value is None or not (name == "source" or isinstance(parameter.type, click.Path)):
                continue
            if name in _OUTPUTS and isinstance(parameter, click.Option):
                written[name] = Path(value)
            elif (path := Path(value).expanduser()).exists() or is_pattern(value):
                read[name] = path
        for name, output in written.items():
            # What is exported is read from the run.
            run_dir = written.get("run_dir") if name == "export_dir" else None
            others = [path for parameter_name, path in read.items() if parameter_name != "source"]
            validate_apart(name, output, *others, run_dir)
            try:
                validate_apart(name, output, read.get("source"))
            except ValueError:
                if not _is_data_set(ctx.params["source"], is_training=self.name in ("train", "compare")):
                    raise
        return super().invoke(ctx)


def _is_data_set(source: str, *, is_training: bool) -> bool:
    """Whether SOURCE is the name of a data set, even if a folder is called so too."""
    if "/" in source:
        return False
    # Asked only where it matters: what knows the names imports TensorFlow, which is to be set up first.
    import_tensorflow(onednn="1" if is_training else None)
    from tfae.datasets import catalog

    return catalog.is_known(source)
