"""Bodies over REST that are nearly right, or nothing like it: each is read as JSON says, or refused."""

import contextlib
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.malformed import GOOD, Rest, examples, is_steady, watched_server

#: What Python's JSON cannot tell of RapidJSON's.
UNSURE = "unsure"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with watched_server(tmp_path_factory.mktemp("malformed")) as started:
        yield started


@pytest.fixture
def rest(server):
    with contextlib.closing(Rest(server.rest_port)) as asked, is_steady():
        yield asked


def expected(body):
    """Rows that ``serving_default`` answers to a body; None if it has to refuse it; `UNSURE`."""
    if re.search(rb"Inf|-NaN|\\u", body) or body[:1] in (b"\xef", b"\xbb", b"\xbf"):
        return UNSURE  # RapidJSON reads more than Python does, and less.
    text = body.lstrip(b" \t\r\n").decode("latin-1")
    try:
        document, _ = json.JSONDecoder(object_pairs_hook=first_members).raw_decode(text)
    except json.JSONDecodeError:
        return None
    except (RecursionError, ValueError):
        return UNSURE
    if not isinstance(document, dict) or ("instances" in document) == ("inputs" in document):
        return None
    if document.get("signature_name", "") not in ("", "serving_default"):
        return UNSURE if isinstance(document["signature_name"], str) else None
    value = document.get("instances", document.get("inputs"))
    if "instances" in document and not (isinstance(value, list) and value):
        return None
    if "inputs" in document and isinstance(value, dict):
        value = value.get("x")
    elif isinstance(value, list) and all(isinstance(row, dict) and list(row) == ["x"] for row in value):
        value = [row["x"] for row in value]
    shape = shape_of(value)
    if shape is None or len(shape) != 2 or shape[1] != 2:
        return shape and UNSURE
    try:
        rows = np.array(value, "float64")
    except OverflowError:
        return UNSURE
    with np.errstate(over="ignore"):
        return rows.astype("float32") * 2 if np.isfinite(rows).all() else UNSURE


def first_members(pairs):
    if sum(name == "x" for name, _ in pairs) > 1:
        raise ValueError(UNSURE)
    return dict(reversed(pairs))


def shape_of(value):
    """The shape of nested lists of numbers; None if they are anything else."""
    if isinstance(value, list):
        shapes = {shape_of(item) for item in value}
        return (0,) if not shapes else None if len(shapes) > 1 or None in shapes else (len(value), *shapes.pop())
    return () if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def compare(body, status, document):
    """Hold an answer against what is expected."""
    rows = expected(body)
    if rows is UNSURE:
        return
    assert (status == 200) == (rows is not None), f"{body!r} was answered with {document}"
    if rows is not None:
        (found,) = document.values()
        np.testing.assert_allclose(np.array(found, "float32"), rows, rtol=1e-6, atol=1e-36)


NEARLY = [
    GOOD,
    b'{"signature_name": "serving_default", "instances": [{"x": [1, 2]}, {"x": [1e3, -0.5]}]}',
    b'{"inputs": {"x": [[1, 2], [3, 4]]}}',
    b'{"inputs": [[0, 1e-3]], "signature_name": ""}',
]
TOKENS = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"-", b"."]
TOKENS += [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"1e-400",
    b"1e38",
    b"9" * 400,
    b"18446744073709551616",
    b"01",
    b"+1",
    b"0x1",
]
TOKENS += [b"null", b"true", b'"1"', b'{"b64": "AA"}', b'"instances": 1,', b'"inputs": [],', b'"x":', b"[" * 700]
TOKENS += [rb"\ud800", rb"\udc00\ud800", rb"\u00", b"/**/", b"//\n", b"\xc3\xa9", b"'", b" " * 50, b"\r\n"]
edits = st.lists(
    st.tuples(st.sampled_from("-+=~"), st.integers(0, 90), st.integers(1, 9), st.sampled_from(TOKENS) | st.binary()),
    min_size=1,
    max_size=4,
)


def edited(text, changes):
    """Text in which slices are deleted, inserted, repeated or replaced."""
    for kind, start, size, token in changes:
        start %= len(text) + 1
        piece = text[start : start + size]
        middle = {"-": b"", "+": token + piece, "=": piece * 3, "~": token}[kind]
        text = text[:start] + middle + text[start + size :]
    return text


def test_nearly_right_json_is_read_as_json_or_refused(rest):
    @examples(700)
    @given(st.sampled_from(NEARLY), edits)
    def send(text, changes):
        body = edited(text, changes)
        status, document = rest.post(body)
        assert status in (200, 400)
        compare(body, status, document)

    send()
    assert rest.num_sent >= 700


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
numbers = st.integers(-9, 300) | st.floats() | st.sampled_from([2**31, -(2**63) - 1, 2**64, 10**310])
objects = st.fixed_dictionaries({}, optional=dict.fromkeys(("x", "a", "b", "text", "b64", "é"), scalars))
tensors = st.recursive(
    numbers | scalars | objects,
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({"x": inner}) | st.lists(numbers, max_size=3),
    max_leaves=12,
)
signature_names = st.sampled_from(["add", "finite", "half", "strings", "total", "", "no", "__saved_model_init_op"])
documents = st.fixed_dictionaries(
    {}, optional={"signature_name": signature_names | scalars, "instances": tensors, "inputs": tensors, "": tensors}
)
rows_of_two = st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=3)
plain = st.builds(lambda key, rows: {key: rows}, st.sampled_from(["instances", "inputs"]), rows_of_two)


def test_documents_of_wrong_types_shapes_and_names_are_refused(rest):
    @examples(450)
    @given(documents | tensors | plain, st.booleans())
    def send(document, escaped):
        body = json.dumps(document, ensure_ascii=escaped).encode(errors="surrogatepass")
        status, answer = rest.post(body)
        assert status in ((200, 400, 501) if b'"half"' in body else (200, 400))
        compare(body, status, answer)

    send()
    assert rest.num_sent >= 450


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[" * 1_000_000, "JSON Parse error"),
        (b'{"instances": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", "JSON Parse error|lists of equal lengths"),
        (b'{"inputs": ' + b'{"x": ' * 9_000 + b"1" + b"}" * 9_000 + b"}", "JSON Parse error|null or objects"),
        (b'{"instances": [[1, ' + b"9" * 1_000_000 + b"]]}", "number too large"),
        (b'{"instances": "' + b"x" * 1_000_000 + b'"}', "instances: expected a list"),
        (b'{"signature_name": "' + b"x" * 1_000_000 + b'", "instances": [1]}', "signature_name: expected one of"),
    ],
    ids=["open", "lists", "objects", "digits", "string", "name"],
)
def test_deep_and_long_documents_are_refused_at_once(rest, body, error):
    status, document = rest.post(body)
    assert status == 400
    assert re.search(error, document["error"])
