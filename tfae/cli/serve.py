"""``tfae serve`` and ``tfae deploy``."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tfae.cli.command import Command
from tfae.cli.options import is_given, together
from tfae.cli.tensorflow import import_tensorflow
from tfae.cli.terminal import Echo

if TYPE_CHECKING:
    from tfae.serving.local.server import LocalServer

_LOG = logging.getLogger("tfae.serving")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PORT = click.IntRange(0, 65535)
#: Seconds for requests under way when it is told to stop.
_GRACE = 10.0
#: Options by the engines that have them.
_OF_ALL = ("rest_port", "grpc_port", "poll_seconds", "allow_xla")
_LOCAL_ONLY = ("max_request_bytes", "access_log")
_ENGINES_ONLY = ("batching_parameters_file", "metrics", "cors", "flags", "image", "only_print")


def _versions_by_label(ctx: click.Context, parameter: click.Parameter, entries: Sequence[str]) -> dict[str, int]:
    versions: dict[str, int] = {}
    for entry in entries:
        label, _, version = entry.partition("=")
        if not label or not version.isascii() or not version.isdecimal():
            raise ValueError(f"--label: expected LABEL=VERSION, such as stable=1; received {entry!r}.")
        if label in versions:
            raise ValueError(f"--label: expected each label once; received {label} twice.")
        versions[label] = int(version)
    return versions


#: What clients call a model, and its versions.
_naming_options = together(
    click.option("--name", help="Of the model, as clients ask for it.  [default: the folder's]"),
    click.option(
        "--label",
        "labels",
        multiple=True,
        callback=_versions_by_label,
        metavar="LABEL=VERSION",
        help="Version that clients ask for by a label, such as stable=1; may be repeated. Only these versions are "
        "served.  [default: none, the highest version is served]",
    ),
)


@click.command(cls=Command)
@click.argument("saved_models", required=False, type=click.Path(path_type=Path))
@_naming_options
@click.option(
    "--model-config-file",
    type=_FILE,
    help="Models, in place of SAVED_MODELS, as TensorFlow Serving's option of that name; read again when it changes.",
)
@click.option("--host", help="Address to be reached at; 0.0.0.0 for all.  [default: 127.0.0.1]")
@click.option("--rest-port", "--port", type=_PORT, default=8501, help="Of REST; 0 for any that is free.")
@click.option("--grpc-port", type=_PORT, default=8500, help="Of gRPC; 0 for any that is free.")
@click.option(
    "--poll-seconds", type=click.FloatRange(0), default=1, help="Time between two looks for new versions; 0 looks once."
)
@click.option(
    "--xla", "allow_xla", is_flag=True, help="Run functions with jit_compile=True, which the server rejects by default."
)
@click.option("--max-request-bytes", type=click.IntRange(1), help="Largest request.  [default: 64 MiB]")
@click.option("--access-log", metavar="FILE", type=click.Path(dir_okay=False), help="Log each REST request as a line.")
@click.option(
    "--engine",
    type=click.Choice(["local", "tensorflow-serving", "docker"]),
    default="local",
    help="What serves: tfae itself, tensorflow_model_server on the PATH, or its official Docker image.",
)
@click.option("--batching-parameters-file", type=_FILE, help="With an --engine: batch requests, as this file says.")
@click.option("--metrics", is_flag=True, help="With an --engine: offer /monitoring/prometheus/metrics.")
@click.option("--cors", is_flag=True, help="With an --engine: let pages of other sites ask.")
@click.option(
    "--flag", "flags", multiple=True, help="With an --engine: one of its own, --flag=--rest_api_num_threads=4."
)
@click.option("--image", help="With --engine docker: its image and tag.  [default: tensorflow/serving]")
@click.option("--print", "only_print", is_flag=True, help="With an --engine: show its command instead of running it.")
@click.pass_context
def serve(
    ctx: click.Context,
    saved_models: Path | None,
    *,
    name: str | None,
    labels: dict[str, int],
    model_config_file: Path | None,
    engine: str,
    **options: Any,
) -> None:
    """Serve SAVED_MODELS, a model's versions or a folder of such models, over TensorFlow Serving's REST and gRPC.

    New versions are served as soon as they appear. tfae's own server is for notebooks, tests and this machine; for
    production take TensorFlow Serving (--engine), which the same clients talk to.
    """
    if (saved_models is None) == (model_config_file is None):
        raise ValueError("SAVED_MODELS: expected either a folder or --model-config-file; received both or neither.")
    if saved_models is not None and saved_models.is_file():
        raise ValueError(f"SAVED_MODELS: expected a folder; received the file {saved_models}. Is it a config file?")
    is_local = engine == "local"
    for option in ctx.command.params:
        if option.name in (_ENGINES_ONLY if is_local else _LOCAL_ONLY) and is_given(ctx, option):
            engines = "--engine docker" if option.name == "image" else "--engine docker and --engine tensorflow-serving"
            owner = engines if is_local else "tfae's own server"
            raise ValueError(f"{option.opts[0]}: expected no such option with --engine {engine}; it is for {owner}.")
    from tfae.serving.model_config import read_models

    path = model_config_file or saved_models or ""
    models = read_models(path, name=name, labels=labels)
    if is_local:
        _serve_locally(path, name=name, labels=labels, **options)
    else:
        _serve_with(engine, models, **options)


def _serve_with(engine: str, models: Any, **options: Any) -> None:
    """Replace this process by TensorFlow Serving, or show its command."""
    from tfae.serving import engines

    names = ("host", "batching_parameters_file", "metrics", "cors", "flags", *_OF_ALL)
    launch = engines.Launch(models=models, **{name: options[name] for name in names})
    if engine == "docker":
        command = engines.build_docker_command(launch, image=options["image"] or engines.IMAGE)
    elif options["image"] is None:
        command = engines.build_native_command(launch)
    else:
        raise ValueError("--image: expected none with --engine tensorflow-serving; received one.")
    if options["only_print"]:
        click.echo(shlex.join(command))
    else:
        engines.run(command)


def _serve_locally(path: str | Path, *, name: str | None, labels: dict[str, int], **options: Any) -> None:
    """Serve from this process until told to stop."""
    import tfae.serving.local  # noqa: F401  # Says what is missing, before TensorFlow takes its time.

    import_tensorflow()
    from tfae.serving.local.server import MAX_REQUEST_BYTES, LocalServer

    host, file, access_log = options["host"] or "127.0.0.1", options["access_log"], None
    if file is not None:
        access_log = _log_to(
            "tfae.serving.access", logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
        )
        access_log.propagate = False
    _log_to("tfae.serving", Echo())
    server = LocalServer(
        path,
        name=name,
        labels=labels,
        host=host,
        max_request_bytes=options["max_request_bytes"] or MAX_REQUEST_BYTES,
        access_log=access_log,
        **{name: options[name] for name in _OF_ALL},
    )
    _run(server, host=host)


def _log_to(name: str, handler: logging.Handler) -> logging.Logger:
    """Return a logger, whose messages go to a handler until the command ends."""
    log, ctx = logging.getLogger(name), click.get_current_context()
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    ctx.call_on_close(handler.close)
    ctx.call_on_close(lambda: log.removeHandler(handler))
    return log


def _run(server: LocalServer, *, host: str) -> None:
    # Graphs of unloaded versions are collected at once, which stops every request, for a tenth of a second and more
    # unless imported modules are left out.
    gc.collect()
    gc.freeze()
    try:
        server.start()
    except (KeyboardInterrupt, SystemExit) as order:
        # Python would wait for the models to load.
        _leave(128 + signal.SIGINT if isinstance(order, KeyboardInterrupt) else order.code)
    try:
        click.echo(_page(server, is_local=host in ("127.0.0.1", "::1", "localhost")))
        while True:  # In steps, since Windows hears of no signal during a wait.
            time.sleep(1.0)
    except (KeyboardInterrupt, SystemExit):  # What Ctrl-C and SIGTERM raise.
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # Whoever asks twice does not want to wait.
            signal.signal(number, signal.SIG_DFL)
        _LOG.info("Stopping; requests under way have %g s.", _GRACE)
        finished = server.stop(_GRACE)
    if not finished:
        _LOG.info("Requests, or the loading of a version, were cut off.")
        _leave(1)  # Their threads cannot be ended, and Python would wait for them.


def _leave(code: object) -> NoReturn:
    """End the process at once, whatever its threads do."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


def _page(server: LocalServer, *, is_local: bool) -> str:
    available = server.models.available()
    name = next(iter(available), "MODEL")  # A config file may have lost its models meanwhile.
    url = f"{server.rest_url}/v1/models/{name}"
    lines = [
        "tfae's local server, for notebooks and tests. In production take TensorFlow Serving: --engine docker.",
        "",
        *(
            f"{model}: {'version ' + ', '.join(map(str, versions)) if versions else 'no version yet, waiting for one'}"
            for model, versions in available.items()
        ),
        f"REST  {url}",
        f"gRPC  {server.grpc_url}",
        "",
        f"curl {url}/metadata",
        f'python -c \'from tfae.serving import Client; print(Client("{server.rest_url}", "{name}").metadata())\'',
    ]
    if not is_local:
        lines += ["", "Everybody who reaches this machine may ask it."]
    return "\n".join([*lines, "", "Ctrl-C stops it."])


@click.command(cls=Command)
@click.argument("saved_models", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("deploy"), help="Folder to write.")
@click.option("--replace", is_flag=True, help="Replace a folder that was written before.")
@_naming_options
@click.option("--image", default="tensorflow/serving", help="Of TensorFlow Serving; give it a tag: NAME:TAG.")
@click.option("--batching", is_flag=True, help="Have the servers batch the requests of several clients.")
def deploy(
    saved_models: Path,
    *,
    output: Path,
    replace: bool,
    name: str | None,
    **options: Any,
) -> None:
    """Write the files that operate TensorFlow Serving with SAVED_MODELS, a folder of versions.

    Written are the configurations of models, batching and monitoring, a Docker compose file, a Kubernetes manifest, a
    readiness probe that asks every signature, and a README that tells how to use them.
    """
    import_tensorflow()
    from tfae.serving import deployment

    settings = deployment.Deployment(saved_models=saved_models, name=name or "", **options)
    deployment.write(settings, output, replace=replace)
    click.echo(output / "README.md")
