import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("anomalies", ["Denoiser", "rows/s"]),
        ("comparison", ["trained on clean data", "| MSE |"]),
        ("quickstart", ["load back and score", "bce"]),
        ("fit", ["matrix products", "stock Keras", "convolutional", "first step"]),
        ("losses", ["XLA", "squared"]),
        ("recovery", ["kill -9", "graph"]),
        ("scaling", ["rows/s", "one process"]),
        ("schedule", ["digits", "dense", "bce"]),
        ("publication", ["kill -9", "export.save"]),
        ("serving", ["gRPC", "failed or wrong", "bulk"]),
        ("tables", ["tfae.datasets.load", "tfae score"]),
        ("startup", ["import tfae", "tfae --help", "evaluation", "pictures", "export"]),
        ("streaming", ["streamed"]),
        ("variational", ["its own Adam", "negative ELBO", "active units", "tfae, plain"]),
    ],
)
def test_a_benchmark_runs_and_writes_what_it_measured(name, expected):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for word in expected:
        assert word in result.stdout
    written = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    assert written["smoke"] is True
    assert written["machine"]["versions"]["keras"]
