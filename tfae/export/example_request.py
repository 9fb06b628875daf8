"""A request for the score of a sample that a shell can send."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import tensorflow as tf

from tfae.servable import read_warmup

#: Characters of a sample that is written out.
_MAX_LENGTH = 600


def write_example_request(version: Path) -> str | None:
    """Commands that ask a server on this machine for the score of one sample, as ``curl`` sends it over REST.

    Args:
        version: Folder ``<name>/<version>`` of an export with warm-up requests; the sample is of theirs, and zeros
            where it is too long to read.

    Returns:
        Lines for a shell; None if there is no request for a score that REST carries.
    """
    try:
        requests = [request for request in read_warmup(version) if request.signature == "score"]
    except tf.errors.OpError:
        return None
    records = (
        {name: array[row] for name, array in each.inputs.items()}
        for each in requests
        for row in range(len(next(iter(each.inputs.values()))))
    )
    # For the gaps that a table may have JSON has no sign.
    record = next((each for each in records if not any(np.any(value != value) for value in each.values())), None)
    if record is None:
        return None
    written = {name: _as_written(value) for name, value in record.items()}
    is_table = written.keys() != {"inputs"}  # It has an input for each column.
    instances = [written if is_table else written["inputs"]]
    body = json.dumps({"signature_name": "score", "instances": instances}, ensure_ascii=False)
    url = shlex.quote(f"http://localhost:8501/v1/models/{quote(version.absolute().parent.name, safe='')}:predict")
    if len(body) <= _MAX_LENGTH or is_table:
        return f"curl -d {shlex.quote(body)} \\\n    {url}"
    zeros = "0"
    for side in reversed(record["inputs"].shape):
        zeros = f"[{zeros}]" + (f" * {side}" if side > 1 else "")
    document = f'{{"signature_name": "score", "instances": [{zeros}]}}'
    return f"python3 -c 'import json; print(json.dumps({document}))' |\n    curl -d @- {url}"


def _as_written(value: Any) -> Any:
    """Values as JSON has them; floats of golden requests are those of float32, and are written without more digits."""
    if isinstance(value, bytes):
        return value.decode()
    array = np.asarray(value)
    return (array.astype("float32").astype(str).astype("float64") if array.dtype.kind == "f" else array).tolist()
