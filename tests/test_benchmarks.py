import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_quickstart_benchmark_runs():
    command = [sys.executable, "-m", "benchmarks.quickstart", "--smoke"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "load back and score" in result.stdout
    assert "bce" in result.stdout
