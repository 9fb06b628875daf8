"""Bodies as JSON values: what RapidJSON 1.1.0 accepts, refuses, and says about it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfae.serving.local.rest.document import parse
from tfae.serving.local.rest.scanner import MAX_DEPTH, scan
from tfae.serving.local.rest.values import QUOTATION_BYTES, Members, kind, quoted, string_text
from tfae.serving.status import StatusError

NAN, INF = float("nan"), float("inf")


def plain(value):
    """Lists, pairs and texts of numbers, which can be compared: NaN is not equal to itself, and 1 is equal to 1.0."""
    if isinstance(value, Members):
        return {"members": [(name, plain(member)) for name, member in value.pairs]}
    return [plain(element) for element in value] if isinstance(value, list) else repr(value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b"  ", "The document is empty. at offset: 2"),
        (b"\x00{}", "The document is empty. at offset: 0"),
        (b"\xef\xbb\xbf", "The document is empty. at offset: 3"),
        (b"tru", "Invalid value. at offset: 3"),
        (b'{"a":nul}', "Invalid value. at offset: 8"),
        (b'{"a":-}', "Invalid value. at offset: 6"),
        (b'{"a":-Infi}', "Invalid value. at offset: 10"),
        (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a":1 2}', "Missing a comma or '}' after an object member. at offset: 7"),
        (b'{"a":[1 2]}', "Missing a comma or ']' after an array element. at offset: 8"),
        (b'{"a":[1', "Missing a comma or ']' after an array element. at offset: 7"),
        (b'{"a":"b', "Missing a closing quotation mark in string. at offset: 7"),
        (b'{"a":"b\x00"}', "Missing a closing quotation mark in string. at offset: 7"),
        # A newer RapidJSON calls this one "Invalid encoding in string."
        (b'{"a":"b\nc"}', "Invalid escape character in string. at offset: 7"),
        (b'{"a":"\\x41"}', "Invalid escape character in string. at offset: 6"),
        (b'{"a":"\\u00g0"}', "Incorrect hex digit after \\u escape in string. at offset: 6"),
        (b'{"a":"\\ud800\\u0041"}', "The surrogate pair in string is invalid. at offset: 6"),
        (b'{"a":1.}', "Miss fraction part in number. at offset: 7"),
        (b'{"a":1e+}', "Miss exponent in number. at offset: 8"),
        (b'{"a":1e309}', "Number too big to be stored in double. at offset: 5"),
        (b'{"a":' + b"9" * 400 + b"}", "Number too big to be stored in double. at offset: 5"),
        # Offsets count bytes, also after text that is not ASCII, or no text at all.
        ('{"é":1,}'.encode(), "Missing a name for object member. at offset: 8"),
        (b'{"\xff\xfe":1,}', "Missing a name for object member. at offset: 8"),
        (b'\xef\xbb\xbf{"a":1,}', "Missing a name for object member. at offset: 10"),
    ],
)
def test_what_is_no_json_is_refused_in_the_words_of_rapidjson(body, message):
    with pytest.raises(StatusError, match="JSON Parse error") as refusal:
        parse(body)
    assert refusal.value.code == "INVALID_ARGUMENT"
    assert refusal.value.message == f"JSON Parse error: {message}"


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        (b' \r\n\t{ "a" : [ 1 , 2 ] } ', [("a", [1, 2])]),
        (b'\xef\xbb\xbf{"a":null}', [("a", None)]),
        (b'{"a":true} and more', [("a", True)]),
        (b'{"a":true}}', [("a", True)]),
        (b'{"a":1,"a":2}', [("a", 1), ("a", 2)]),
        (b'{"\\u0061":"\\ud83d\\ude00\\/"}', [("a", "\U0001f600/")]),
        (b'{"a":-0,"b":-0.0,"c":1e2}', [("a", 0), ("b", -0.0), ("c", 100.0)]),
        (
            b'{"a":[NaN,-NaN,Inf,-Inf,Infinity,-Infinity]}',
            [("a", [NAN, NAN, INF, -INF, INF, -INF])],
        ),
        (b'{"a":18446744073709551615,"b":18446744073709551616}', [("a", 2**64 - 1), ("b", 2.0**64)]),
        (b'{"a":-9223372036854775808,"b":-9223372036854775809}', [("a", -(2**63)), ("b", -(2.0**63))]),
        (b'{"a":1e-400}', [("a", 0.0)]),
        (b'{"a":"b\xffc"}', [("a", "b\udcffc")]),
        # A low surrogate alone becomes three bytes, which are no UTF-8.
        (b'{"a":"\\udc00"}', [("a", "\udced\udcb0\udc80")]),
    ],
)
def test_what_rapidjson_accepts_is_read_as_it_reads_it(body, pairs):
    assert plain(parse(body)) == plain(Members(pairs))


@pytest.mark.parametrize(
    ("body", "quotation"),
    [(b"[[1, 2.0]]", "[[1, 2.0]]"), (b"1", "1"), (b"null", "null"), (b'"a"', '"a"'), (b"Infinity", "")],
)
def test_a_document_that_is_no_object_is_quoted(body, quotation):
    with pytest.raises(StatusError, match="Is not object") as refusal:
        parse(body)
    assert refusal.value.message == f"JSON Value: {quotation} Is not object"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"]]]]":', b'{"]\\"]\\\\":', b'["]]",'])
def test_text_that_is_nested_without_end_is_refused_and_harms_nothing(opening):
    with pytest.raises(StatusError, match="Nested deeper"):
        parse(b'{"instances":' + opening * 200_000)


def test_text_that_is_nested_deeply_is_read():
    value = parse(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}").get("a")
    depth = 0
    while value:
        assert isinstance(value, list)
        depth, value = depth + 1, value[0]
    assert depth == MAX_DEPTH - 2


def json_like():
    """Text made of what JSON is made of, most of it no JSON."""
    tokens = (
        '{ } [ ] , : "a" "\\n" "\\u00e9" "\\ud83d\\ude00" 1 -0 0.5 1e5 1e309 NaN -Inf Infi true null nul 01 1. " \\'
    )
    parts = st.one_of(st.sampled_from([token.encode() for token in tokens.split(" ")]), st.binary(max_size=2))
    return st.lists(parts, min_size=1, max_size=12).map(b"".join)


@settings(deadline=None, max_examples=400)
@given(st.one_of(json_like(), json_like().map(lambda text: b'{"a":[' + text + b"]}")))
def test_both_parsers_agree_on_everything(text):
    def outcome(read):
        try:
            return plain(read(b'{"a":' + text))
        except StatusError as error:
            return error.message

    assert outcome(parse) == outcome(scan)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1000.0, "1000.0"),
        (0.1, "0.1"),
        (123456.789, "123456.789"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (-1.25e300, "-1.25e300"),
        (5e-324, "5e-324"),
        ([1, float("nan"), 2], "[1, "),
        (
            Members([("a", Members([])), ("b", [Members([("c", None)])])]),
            '{\n    "a": {},\n    "b": [{\n            "c": null\n        }]\n}',
        ),
    ],
)
def test_values_are_quoted_as_rapidjson_writes_them(value, text):
    # By hand, from RapidJSON's writer: exponents from 1e21 and below 1e-6, four blanks for each level.
    assert quoted(value) == text


def test_quotations_are_cut():
    assert quoted([1] * 1000) == "[" + "1, " * 85
    assert len(quoted(Members([("é" * 1000, 1)])).encode(errors="surrogateescape")) == QUOTATION_BYTES
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert quoted(nested) == "[" * QUOTATION_BYTES


def test_strings_keep_all_but_quotes_backslashes_and_control_characters():
    assert string_text('/é"\\\b\f\n\r\t\x00\x1f\x7f\udcff') == '"/é\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001F\x7f\udcff"'


def test_types_have_the_names_of_rapidjson():
    values = [None, True, False, 1, 1.5, "a", [], Members([])]
    assert " ".join(map(kind, values)) == "Null True False Number Number String Array Object"


def test_the_first_of_equal_names_counts():
    members = Members([("a", 1), ("a", 2)])
    assert (members.get("a"), members.get("b", 3), members.names) == (1, 3, ["a", "a"])
    assert "a" in members
    assert "b" not in members


@pytest.mark.parametrize("pairs", [[], [("a", 1)]])
def test_an_object_is_no_axis(pairs):
    array = np.array([[Members(pairs)]])
    assert (array.dtype, array.shape) == (object, (1, 1))
