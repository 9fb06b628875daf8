"""The notebooks run from top to bottom, and what they were committed with is what came out.

``python -m tests.test_notebooks`` runs them all and writes the outputs into them.
"""

import asyncio
import copy
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 600_000
#: What the tests replace, so that the code trains fewer models, or shorter; what it asserts has to hold all the same.
SMALLER = {
    "1_train_an_autoencoder": {"epochs=40": "epochs=4", r'    ".* error, (sigmoid|linear|seed 1)": train.*\n': ""},
    "2_choose_a_loss": {r"SEEDS = range\(3\)": "SEEDS = range(1)", r'gray\["squared error, sigmoid"\] = .*\n': ""},
    "3_serve": {"epochs=40": "epochs=10"},
    "4_variational": {"EPOCHS = 60": "EPOCHS = 2", r"(?m)^assert .*": ""},
    "5_find_anomalies": {"epochs=25": "epochs=3", "epochs=15": "epochs=5"},
}
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class ThisInterpreter(AsyncKernelManager):
    """Starts kernels of the interpreter that runs this, whatever kernels are installed under the name "python3"."""

    def __init__(self, **arguments: Any) -> None:
        # Without folders to look into, ipykernel's own is the only one left.
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **arguments)


def run(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """A copy of the notebook, run in that folder; an error in a cell is raised.

    The copy has nothing in it that depends on the machine: what TensorFlow's C++ code says on stderr while it is
    imported (the devices that it finds) is left out, and so is the metadata that a kernel adds.
    """
    fresh = copy.deepcopy(notebook)
    for cell in code_cells(fresh):
        cell.update(outputs=[], execution_count=None)
    client = NotebookClient(
        fresh,
        kernel_manager_class=ThisInterpreter,
        timeout=300,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    # Not client.execute(), which would leave its event loop open.
    asyncio.run(client.async_execute())
    fresh.metadata = nbformat.from_dict(METADATA)
    for cell in code_cells(fresh):
        if re.search("import (tensorflow|keras)", cell.source):
            cell.outputs = [output for output in cell.outputs if not is_stderr(output)]
    return fresh


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def smaller(path: Path) -> NotebookNode:
    """The notebook as the tests run it."""
    notebook = read(path)
    for pattern, replacement in SMALLER[path.stem].items():
        assert any(re.search(pattern, cell.source) for cell in code_cells(notebook))
        for cell in code_cells(notebook):
            cell.source = re.sub(pattern, replacement, cell.source)
    return notebook


def is_stderr(output: NotebookNode) -> bool:
    return output.output_type == "stream" and output.name == "stderr"


def structure(notebook: NotebookNode) -> dict[str, list[str]]:
    """By cell, what its outputs are: streams and MIME types, without the contents."""
    return {
        cell.id: [
            output.name if output.output_type == "stream" else " ".join([output.output_type, *sorted(output.data)])
            for output in cell.outputs
        ]
        for cell in code_cells(notebook)
    }


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=SMALLER)
def path(request: pytest.FixtureRequest) -> Path:
    assert {path.stem for path in NOTEBOOKS} == set(SMALLER)
    return FOLDER / f"{request.param}.ipynb"


@pytest.fixture
def no_settings_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a start-up script nor another plotting backend changes what comes out, and no history is written."""
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.delenv("MPLBACKEND", raising=False)


@pytest.mark.usefixtures("no_settings_of_the_user")
def test_the_notebook_runs_and_gives_outputs_of_the_committed_kinds(path, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    fresh = run(smaller(path), folder)
    assert structure(fresh) == structure(read(path))
    assert list(folder.iterdir()) == []


def test_the_notebook_was_committed_as_it_ran_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(read(path))]
    assert counts == list(range(1, len(counts) + 1))


def test_committed_outputs_hold_no_error_and_no_stderr(path):
    outputs = [output for cell in code_cells(read(path)) for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error" or is_stderr(output)]


def test_the_file_is_valid_and_of_moderate_size(path):
    nbformat.validate(read(path))
    assert path.stat().st_size < MAX_BYTES


def test_the_file_knows_nothing_of_the_machine_that_ran_it(path):
    notebook = read(path)
    assert notebook.metadata == METADATA
    assert {str(cell.metadata) for cell in notebook.cells} == {"{}"}
    text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
    assert re.findall(r"/(?:home|root|tmp|work|Users|private|var)/.{0,40}|<.{0,80} at 0x\w+>", text) == []


def test_lines_of_code_and_of_printed_tables_fit_a_page(path):
    code = [line for cell in code_cells(read(path)) for line in cell.source.splitlines()]
    assert [line for line in code if len(line) > 120] == []
    printed = [out.text for cell in code_cells(read(path)) for out in cell.outputs if out.output_type == "stream"]
    rows = [line.rstrip() for text in printed for line in text.splitlines() if "  " in line.strip()]
    assert [row for row in rows if len(row) > 110 and not row.startswith("tfae  ")] == []  # That one is an error.


def test_every_link_to_a_file_leads_to_one(path):
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^)#]+)", prose) if "://" not in link]
    assert links
    assert [link for link in links if not (FOLDER / link).exists()] == []


if __name__ == "__main__":
    for name in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as directory:
            nbformat.write(run(read(name), Path(directory)), name)
