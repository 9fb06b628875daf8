"""What is refused of tables, as the command line says it: the file, the row, the column, the cell, and the option."""

import re

import pytest

from tests.commands import run

ROWS = "a,b,c\n" + "".join(f"{i % 7}.5,{i % 5},k{i % 3}\n" for i in range(40))
DEFECTS = "received {} in column '{}', row 40 of '.*t.csv' .*--gaps mask; .*--gaps drop, or columns, --drop"
COLUMNS = "--{}: expected a column of '.*t.csv'; received 'bb'. Did you mean 'b'"
CASES = [
    # what the files hold; options; what is said
    (
        ROWS + "1,oops,k1\n",
        "--number b",
        "'b' .'oops' in row 40. of '.*t.csv'.*--missing oops; .*--category b; .*--drop b",
    ),
    (ROWS + "1,,k1\n", "", DEFECTS.format("a missing value", "b")),
    (ROWS + "inf,1,k1\n", "", DEFECTS.format("inf", "a")),
    (
        ROWS + "1,2,k1,4\n",
        "",
        "3 in each row; received 4 in row 40 of '.*t.csv', '1,2,k1,4' .*Correct .*--delimiter ';'",
    ),
    (ROWS + "# end\n", "", "received 1 in row 40 of '.*t.csv', '# end' .*--comment '#'"),
    ("0,1\n" + "3,4\n5,6\n" * 9, "", "received '0,1' as the first row of '.*t.csv'.*--header .* --no-header"),
    ("a,1,2\n" + "3,4,5\n5,6,7\n" * 9, "", "received 'a,1,2' as the first row of '.*t.csv'.*--no-header .*--header"),
    (
        "a,b\n1,K\xf6ln\n".encode("latin-1") + b"2,Bonn\n" * 9,
        "",
        "received '.*t.csv' in another encoding.*--encoding latin-1",
    ),
    ("a,a\n1,2\n3,4\n", "", r"received \['a'\] more than once in '.*t.csv'. Rename"),
    (",a\n0,2\n1,4\n", "", "none for column 0 of '.*t.csv'.*--drop ''"),
    ("a,b\n" + "".join(f"{i},name{i}\n" for i in range(200)), "", "'b' of '.*t.csv', .*--drop b.*--max-categories 100"),
    *[
        (ROWS, f"--{option} bb", COLUMNS.format(option))
        for option in ("columns", "drop", "label", "category", "number")
    ],
    *[(ROWS, f"--window 3 --{option} bb", COLUMNS.format(option)) for option in ("time", "group")],
    (ROWS, "--category b --number b", "--number: expected other columns than those of category; received 'b'"),
    (ROWS, "--label b --columns a,b", "--label: expected another column than those in --columns; received 'b'"),
    (ROWS, "--drop a,b,c", r"expected at least one column beside the label; received .* in '.*t.csv'"),
    ("t\n2026-01-01\n2026-01-02\n", "", "received 't' in '.*t.csv'.*--drop.*--label"),
    ("", "", "received '.*t.csv', which is empty"),
    ("a,b\n", "", "received '.*t.csv', which holds none below its header"),
    (
        "a,b\n" + "".join(f"{i % 7},7\n" for i in range(30)),
        "",
        "constant columns 'b' .*--columns varying.*--preprocessing none",
    ),
    (
        ROWS,
        "--window 3 --time c",
        "--time: .* such as 2026-01-31 12:30:00; received 'k0' in column 'c', .*row 0 of '.*t.csv'",
    ),
    (ROWS, "--window 30 --drop c", "--window: .*none of 30 rows in validation, where at most 4 follow"),
    (ROWS, "--window 3", "--window: .*categories in 'c'.*--drop; .*--group"),
    (ROWS, "--time c", "--time: expected None without a window; received 'c'"),
    ({"1.csv": ROWS, "2.csv": "a,b\n1,2\n"}, "", "received '.*1.csv', and '.*2.csv' without 'c'.*--drop c"),
    (
        {"1.csv": "a\n1\n2\n", "2.csv": "a\nx\ny\n"},
        "",
        "number in 'a' of '.*1.csv' and text in that of '.*2.csv'.*--category a",
    ),
    ({"1.csv": "a\n1\n2\n", "2.csv": "a\n1\noops\n"}, "--number a", "'a' .'oops' in row 1. of '2.csv'.*--missing oops"),
    ({"1.csv": "a\n1\n2\n", "2.parquet": "x"}, "", "received '.*1.csv' and '.*2.parquet'"),
    ({"2.parquet": "x"}, "", r"expected a .parquet file; received '.*2.parquet'"),
    ({"train.csv": ROWS, "tst.csv": ROWS}, "", "received train, tst in .*Rename them"),
]


@pytest.mark.filterwarnings("ignore:left out t, which holds times", "ignore:.*is taken for a header")
@pytest.mark.parametrize(("content", "options", "message"), CASES, ids=[f"{case[1]} {case[2][:40]}" for case in CASES])
def test_what_is_refused_is_one_line_that_says_where_and_what_to_do(tmp_path, content, options, message):
    source = tmp_path / ("folder" if isinstance(content, dict) else "t.csv")
    for name, text in content.items() if isinstance(content, dict) else [("", content)]:
        path = source / name if name else source
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    said = run("advise", source, *options.split(), code=2).stderr.splitlines()[-1]
    assert re.match("Error: (SOURCE|--[a-z-]+): expected ", said)
    assert re.search(message, said), said


def test_what_is_no_table_is_said_with_what_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.xlsx").touch()
    assert "file that ends with .npy, .npz, .csv" in run("advise", "t.xlsx", code=2).stderr
    assert "received 'u*.csv', which none does" in run("advise", "u*.csv", code=2).stderr
