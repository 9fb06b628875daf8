import numpy as np
import pyarrow.parquet
import pytest

from tfae.score_file import ScoreFile


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_labels_may_be_missing_in_the_first_batch(tmp_path, suffix):
    path = tmp_path / f"scores.{suffix}"
    with ScoreFile(path) as file:
        file.write("all", 0, np.array([1, 2], "float32"), labels=np.array([None, None]))
        file.write("all", 2, np.array([3], "float32"), labels=np.array([7]))
    if suffix == "csv":
        assert path.read_text().splitlines()[1:] == ['"all",0,,1', '"all",1,,2', '"all",2,"7",3']
    else:
        assert pyarrow.parquet.read_table(path)["label"].to_pylist() == [None, None, "7"]


def test_a_failure_leaves_no_file(tmp_path):
    def write_and_fail():
        with ScoreFile(tmp_path / "scores.csv") as file:
            file.write("all", 0, np.array([1], "float32"))
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends with \.csv or \.parquet; received .*scores\.txt"):
        ScoreFile(tmp_path / "scores.txt")
