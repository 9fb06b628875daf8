"""What holds for the package as a whole: where imports point, what is installed, how fast it answers."""

import ast
import graphlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import tfae

ROOT = Path(__file__).parents[1]

#: What each module may import of tfae; imports point one way.
ALLOWED = {
    "__main__": "cli",
    "activations": "",
    "columns": "",
    "losses": "activations columns moments",
    "casting": "",
    "columns_by_name": "",
    "moments": "",
    "progress": "",
    "schedule": "",
    "load_options": "",
    "preprocessing": "casting columns moments",
    "patterns": "",
    "atomic_write": "patterns",
    "tensor_spec": "casting columns_by_name",
    "graph_messages": "",
    "versions": "",
    "servable": "tensor_spec",
    "signatures": "",
    "exported_model": "columns models signatures",
    "models": "losses",
    "datasets": "columns graph_messages patterns progress load_options moments preprocessing",
    "advice": "activations datasets losses moments preprocessing",
    "plots": "losses models",
    "detection": "columns datasets evaluation moments",
    "scoring": "columns atomic_write casting datasets detection export progress",
    "provenance": "losses models",
    "checks": "activations datasets losses models preprocessing",
    "evaluation": "progress checks losses models moments",
    "export": "casting exported_model progress checks columns columns_by_name datasets detection graph_messages "
    "load_options losses models preprocessing provenance servable signatures tensor_spec "
    "atomic_write versions",
    "serving": "columns_by_name graph_messages servable signatures tensor_spec atomic_write versions",
    "sklearn": "detection export losses models preprocessing schedule",
    "report": "moments progress advice datasets detection evaluation losses models plots provenance atomic_write",
    "training": "checks datasets losses models schedule atomic_write",
    "runs": "checks datasets detection evaluation export losses models preprocessing progress provenance report "
    "schedule atomic_write training",
    "comparison": "casting checks datasets evaluation losses models moments provenance report runs atomic_write "
    "training",
    "cli": "progress advice columns comparison datasets detection evaluation export load_options losses models moments "
    "plots patterns provenance report runs scoring serving atomic_write training",
}


def modules():
    paths = [path for path in (ROOT / "tfae").iterdir() if path.name not in ("__init__.py", "__pycache__", "py.typed")]
    return {path.stem: sorted(path.rglob("*.py")) if path.is_dir() else [path] for path in paths}


def imports(path):
    """Names of the modules of tfae that a file imports: at the top, inside of functions, or for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.startswith("tfae."))


def test_every_module_has_its_place_in_the_table_of_imports():
    assert set(modules()) == set(ALLOWED)


@pytest.mark.parametrize("module", ALLOWED)
def test_imports_point_one_way(module):
    found = {name.split(".")[1] for path in modules()[module] for name in imports(path)} - {module, "__version__"}
    assert found <= set(ALLOWED[module].split())


def test_imports_have_no_cycle():
    table = {module: imported.split() for module, imported in ALLOWED.items()}
    graphlib.TopologicalSorter(table).prepare()
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for paths in modules().values()
        for path in paths
    }
    graph = {
        name: {each if each in files else each.rpartition(".")[0] for each in imports(path)}
        for name, path in files.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_no_module_is_a_drawer():
    names = {path.stem for paths in modules().values() for path in paths}
    assert not names & {"utils", "util", "helpers", "common", "manager", "factory", "misc"}


def test_importing_tfae_imports_no_tensorflow():
    code = "import sys, tfae; print([m for m in ('tensorflow', 'keras', 'numpy') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


# Each in a process of its own, which takes seconds; the last three are like the others.
@pytest.mark.parametrize(
    "first",
    ["tfae", "keras", "tfae.activations"]
    + [pytest.param(f"tfae.{name}", marks=pytest.mark.slow) for name in ("losses", "models", "preprocessing")],
)
def test_keras_finds_the_classes_of_tfae_whichever_is_imported_first(first, tmp_path):
    second = {"keras": "tfae"}.get(first, "keras")
    names = ["Clip", "SquaredError", "AbsoluteError", "BinaryCrossentropy", "Preprocessing", "Sparse"]
    names += ["WarmupStableDecay", "LossMetric", "LossPart", "TableLoss", "Gaussian", "Denoiser", "DenoisingView"]
    code = (
        f"import {first}, {second}; print([keras.saving.get_registered_object('tfae>' + n).__name__ for n in {names}])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == f"{names}\n"


def test_an_editable_install_is_found_from_the_folder_above_a_clone_called_tfae(tmp_path):
    """Where Python would take the clone itself for a namespace of that name."""
    pytest.importorskip("setuptools")
    clone = tmp_path / "above" / "tfae"
    shutil.copytree(ROOT / "tfae", clone / "tfae", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    code = f"from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, check=True)
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    # What tfae needs; the .pth files in there, such as that of this installation, are not read.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))
    command = [tmp_path / "venv" / "bin" / "python", "-c", "import tfae; print(tfae.__file__)"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(command, cwd=clone.parent, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == f"{clone / 'tfae' / '__init__.py'}\n"


@pytest.fixture(scope="module", params=[pytest.param("built", marks=pytest.mark.slow)])
def distributions(tmp_path_factory):
    """Wheel and sdist, built from the files that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of the files that belong to the project")
    folder = tmp_path_factory.mktemp("dist")
    checkout = folder / "checkout"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(checkout)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_carries_every_module_and_nothing_else(distributions):
    wheel, _ = distributions
    expected = {path.relative_to(ROOT).as_posix() for paths in modules().values() for path in paths}
    expected |= {"tfae/__init__.py", "tfae/py.typed"}
    templates = [path for folder in (ROOT / "tfae").rglob("templates") for path in folder.iterdir()]
    expected |= {path.relative_to(ROOT).as_posix() for path in templates}
    expected |= {f"tfae/cli/guides/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected


def test_the_wheel_names_licence_command_and_extras(distributions):
    wheel, _ = distributions
    archive = zipfile.ZipFile(wheel)
    contents = {name.split(".dist-info/")[1]: name for name in archive.namelist() if ".dist-info/" in name}
    metadata = archive.read(contents["METADATA"]).decode()
    assert "licenses/LICENSE" in contents
    assert "tfae = tfae.cli:main" in archive.read(contents["entry_points.txt"]).decode()
    extras = {line[16:] for line in metadata.splitlines() if line.startswith("Provides-Extra: ")}
    assert extras == {"beam", "bench", "docs", "notebook", "serve", "tensorboard", "test"}
    assert "Requires-Python: >=3.10" in metadata.replace("<3.14,", "")


def test_the_wheel_works_where_the_sources_are_not(distributions, tmp_path):
    wheel, _ = distributions
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import tfae, sys; print(tfae.__file__); from tfae.cli import main; main(['--version'], standalone_mode=False)"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert output == [str(tmp_path / "site" / "tfae" / "__init__.py"), f"tfae, version {tfae.__version__}"]


@pytest.fixture(scope="module")
def plain_environment(distributions, tmp_path_factory):
    """An environment as `pip install` of the wheel leaves it, without extras: its Python, and the command."""
    folder = tmp_path_factory.mktemp("plain")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    wheel = zipfile.ZipFile(distributions[0])
    metadata = wheel.read(f"tfae-{tfae.__version__}.dist-info/METADATA").decode()
    tag = "Requires-Dist: "
    wanted = needed_without_extras(line[len(tag) :] for line in metadata.splitlines() if line.startswith(tag))
    there = set()
    while wanted:
        distribution = importlib.metadata.distribution(wanted.pop())
        if distribution.name not in there:
            there.add(distribution.name)
            wanted += needed_without_extras(distribution.requires or [])
            for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
                if not (site / name).exists():
                    (site / name).symlink_to(distribution.locate_file(name))
    command = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--no-deps", "--no-index"]
    subprocess.run([*command, "--quiet", str(distributions[0])], check=True)
    return folder / "bin" / "python", folder / "bin" / "tfae"


def needed_without_extras(requirements):
    needed = map(Requirement, requirements)
    return [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]


@pytest.mark.slow
def test_every_command_but_the_local_server_works_without_extras(plain_environment, tmp_path):
    python, tfae_command = plain_environment
    small = ["--epochs", "1", "--latent-dim", "2", "--widths", "8"]
    commands = [
        ["advise", "wine"],
        ["train", "wine", "--run-dir", "run", "--export-dir", "saved_models/wine", *small],
        ["compare", "wine", "--seeds", "1", "--loss", "mse", *small],
        ["evaluate", "run"],
        ["export", "run", "--export-dir", "saved_models/wine"],
        ["inspect", "saved_models/wine"],
        ["score", "saved_models/wine", "wine", "-o", "scores.csv"],
        ["reconstruct", "saved_models/wine", "wine", "-o", "picture.png"],
        ["deploy", "saved_models/wine"],
        ["serve", "saved_models/wine", "--engine", "docker", "--print"],
        ["serve", "saved_models/wine", "--engine", "tensorflow-serving", "--print"],
    ]
    commands += [[command, "--help"] for command in sorted({command for command, *_ in commands})]
    program = """
import json, sys, importlib.util
from click.testing import CliRunner
from tfae.cli import main
from tfae.serving import Client

assert importlib.util.find_spec("aiohttp") is None
Client("grpc://127.0.0.1:1", "wine").close()
for command in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, (command, result.output)
"""
    subprocess.run([python, "-c", program, json.dumps(commands)], cwd=tmp_path, check=True)
    assert (tmp_path / "deploy" / "README.md").exists()
    refused = subprocess.run([tfae_command, "serve", "saved_models/wine"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "pip install 'tfae[serve]'" in line


def test_the_sdist_carries_licence_readme_and_sources(distributions):
    _, sdist = distributions
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "setup.cfg", "pyproject.toml", "tfae/py.typed", "tfae/losses/__init__.py"} <= names


def test_the_changelog_has_the_version_that_is_built(distributions):
    wheel, _ = distributions
    version = wheel.name.split("-")[1]
    assert f"## {version} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert tfae.__version__ == version
