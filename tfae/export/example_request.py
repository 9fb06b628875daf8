"""A request for the score of a sample that a shell can send."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import quote

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
    sample = next((each.inputs["inputs"] for each in requests if each.inputs.keys() == {"inputs"}), None)
    if sample is None or sample.dtype.kind not in "biuf":
        return None
    # Floats of golden requests are those of float32; written as float64 they would have digits of rounding.
    values = sample[:1].astype("float32").astype(str).astype("float64") if sample.dtype.kind == "f" else sample[:1]
    body = json.dumps({"signature_name": "score", "instances": values.tolist()})
    url = shlex.quote(f"http://localhost:8501/v1/models/{quote(version.absolute().parent.name, safe='')}:predict")
    if len(body) <= _MAX_LENGTH:
        return f"curl -d '{body}' \\\n    {url}"
    zeros = "0"
    for side in reversed(sample.shape[1:]):
        zeros = f"[{zeros}]" + (f" * {side}" if side > 1 else "")
    document = f'{{"signature_name": "score", "instances": [{zeros}]}}'
    return f"python3 -c 'import json; print(json.dumps({document}))' |\n    curl -d @- {url}"
