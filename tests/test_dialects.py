"""Text tables as programs write them: found where that is certain, and else asked for."""

import bz2
import gzip
import re

import numpy as np
import pytest

from tfae.datasets import open_source

pytestmark = pytest.mark.filterwarnings("ignore:.*has no header")

VALUES = [[1.5, 2.0], [3.25, -4.0], [5.0, 1000.5]]


def written(values, delimiter, decimal="."):
    return "\n".join(delimiter.join(str(value).replace(".", decimal) for value in row) for row in values) + "\n"


def read(path, text, *, written_in="utf-8", **options):
    path.write_bytes(text.encode(written_in))
    source = open_source(path, **options)
    return source, source.parts["all"].read()[0]


@pytest.mark.parametrize("header", ["a{0}b\n", ""])
@pytest.mark.parametrize(
    ("delimiter", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", "."), (" ", ".")]
)
def test_delimiter_and_decimal_sign_are_found(tmp_path, delimiter, decimal, header):
    source, samples = read(tmp_path / "t.csv", header.format(delimiter) + written(VALUES, delimiter, decimal))
    assert source.feature_names == (("a", "b") if header else ("column_0", "column_1"))
    np.testing.assert_array_equal(samples, VALUES)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("# made by a logger\n# in 2024\na,b\n" + written(VALUES, ","), {}),
        ("% rows of two\n" + written(VALUES, " "), {}),
        ("a,b\n1.5,2.0\n## and now\n3.25,-4\n5.0,1000.5\n", {"comment": "#"}),
        ("  a    b\n 1.5  2.0\n3.25 -4.0\n 5.0\t1000.5\n", {}),
        ('a,b\n1.5,2\n3.25,-4\n5,"1,000.5"\n', {}),
        ("a;b\n1,5;2\n3,25;-4\n5;1.000,5\n", {}),
        ('"a"\t"b"\n"1.5"\t2\n3.25\t-4\n5\t1000.5\n', {}),
        ("\n\na,b\r\n1.5,2\r\n3.25,-4\r\n5,1000.5\r\n\r\n", {}),
        ("\ufeffa,b\n" + written(VALUES, ","), {}),
        ("1.5_2\n3.25_-4\n5_1000.5\n", {"delimiter": "_"}),
    ],
)
def test_what_else_programs_write_is_read(tmp_path, text, options):
    np.testing.assert_array_equal(read(tmp_path / "t.csv", text, **options)[1], VALUES)


@pytest.mark.parametrize(("suffix", "compress"), [("csv.gz", gzip.compress), ("tsv.bz2", bz2.compress), ("txt", bytes)])
def test_compressed_files_and_other_endings_are_read(tmp_path, suffix, compress):
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(compress(("a\tb\n" + written(VALUES, "\t")).encode()))
    source = open_source(path)
    assert source.name == "t"
    np.testing.assert_array_equal(source.parts["all"].read()[0], VALUES)


@pytest.mark.parametrize(
    ("encoding", "options"),
    [("utf-8-sig", {}), ("utf-16", {}), ("latin-1", {"encoding": "latin-1"}), ("cp1252", {"encoding": "cp1252"})],
)
def test_encodings_are_found_by_their_mark_or_said(tmp_path, encoding, options):
    source, samples = read(tmp_path / "t.csv", "größe,b\n" + written(VALUES, ","), written_in=encoding, **options)
    assert source.feature_names == ("größe", "b")
    np.testing.assert_array_equal(samples, VALUES)


@pytest.mark.parametrize(
    ("text", "options", "match"),
    [
        (
            "a;b\n1,500;2\n3,250;4\n",
            {},
            r"received '1,500' .* a thousand or a fraction\. .*thousands=\",\" or decimal=\",\"",
        ),
        ("a,b|c\nx,y|z\nu,v|w\n", {}, r"may be commas or bars, as in 'a,b\|c'\. Say which: delimiter=','"),
        (
            "a,b\n1,2\n# end\n",
            {},
            r"received 1 in row 1 of '.*', '# end' \(rows count from 0\)\. If such lines are .* comment='#'",
        ),
        (
            "a,b\n1,2\n1,2,3\n",
            {},
            r"commas, 2 in each row; received 3 in row 1 of '.*', '1,2,3' \(rows.* Correct .* delimiter=\";\"",
        ),
        (
            "größe,b\n1,2\n",
            {"encoding": "utf-7000"},
            r"^encoding: expected the name of an encoding, .*received 'utf-7000'",
        ),
        ("a,b\n1,2\n", {"delimiter": ";;"}, r"^delimiter: expected one character; received ';;'"),
    ],
)
def test_what_is_not_certain_is_asked_for_by_the_option_that_says_it(tmp_path, text, options, match):
    with pytest.raises(ValueError, match=match):
        read(tmp_path / "t.csv", text, **options)


@pytest.mark.parametrize(
    ("option", "expected"), [({"thousands": ","}, [[1500, 2], [3250, 4]]), ({"decimal": ","}, [[1.5, 2], [3.25, 4]])]
)
def test_the_option_that_is_named_reads_the_file(tmp_path, option, expected):
    np.testing.assert_array_equal(read(tmp_path / "t.csv", "a;b\n1,500;2\n3,250;4\n", **option)[1], expected)


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=re.escape(f"expected a text file; received '{tmp_path / 't.csv.gz'}'")):
        open_source(tmp_path / "t.csv.gz")
