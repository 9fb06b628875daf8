"""What Keras is set to: by the environment, and by the file keras.json in KERAS_HOME."""

import json
import os
import subprocess
import sys

import pytest


def python(code, folder, **environment):
    environment = {**os.environ, "KERAS_HOME": str(folder), **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def settings(folder, **changed):
    (folder / "keras.json").write_text(json.dumps({"backend": "tensorflow", **changed}))


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("import tfae; tfae.losses", "losses"),
        ("from tfae.runs import train", "runs"),
        ("import tfae.datasets", "datasets"),
    ],
)
def test_another_backend_is_one_line_that_says_what_to_set(tmp_path, code, module):
    line = (
        f"ImportError: tfae.{module}: expected Keras to run on TensorFlow; received the backend 'torch'. Set the "
        "environment variable KERAS_BACKEND=tensorflow before Keras is imported."
    )
    assert python(code, tmp_path, KERAS_BACKEND="torch").stderr.splitlines()[-1] == line
    settings(tmp_path, backend="torch")
    environment = {"KERAS_BACKEND": ""}
    assert python(code, tmp_path, **environment).stderr.splitlines()[-1] == line


def test_what_needs_no_keras_goes_with_every_backend(tmp_path):
    code = "from tfae.serving import Client; import tfae; print(tfae.__version__)"
    assert python(code, tmp_path, KERAS_BACKEND="jax").returncode == 0


@pytest.mark.parametrize(
    ("environment", "changed", "said"),
    [
        ({"KERAS_BACKEND": "jax"}, {}, ["Keras runs on TensorFlow here, not on jax as KERAS_BACKEND says."]),
        (
            {"KERAS_BACKEND": ""},
            {"backend": "torch", "floatx": "float64", "image_data_format": "channels_first"},
            [],
        ),
    ],
)
def test_the_command_line_trains_on_tensorflow_whatever_keras_is_set_to(tmp_path, environment, changed, said):
    settings(tmp_path, **changed)
    command = (
        "train digits --model convolutional --widths 4 --epochs 1 --run-dir run --export-dir model --ignore constant"
    )
    result = python(f"from tfae.cli import main; main({command.split()})", tmp_path, **environment)
    assert (result.returncode, [line for line in result.stderr.splitlines() if "KERAS_BACKEND" in line]) == (0, said)
    assert "scored    180 test samples" in result.stdout
