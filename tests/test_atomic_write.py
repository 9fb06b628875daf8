import pytest

from tfae.atomic_write import replace_atomically, write_atomically


def test_a_file_appears_when_the_block_ends(tmp_path):
    with replace_atomically(tmp_path / "new" / "file.txt") as partial:
        partial.write_text("half")
        assert partial.suffix == ".txt"
        assert not (tmp_path / "new" / "file.txt").exists()
    assert (tmp_path / "new" / "file.txt").read_text() == "half"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.txt"]


def test_text_and_writers_are_written_and_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, lambda partial: partial.write_bytes(b"bytes"))
    assert path.read_bytes() == b"bytes"
    write_atomically(path, "before")

    def fail(partial):
        partial.write_text("half of aft")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
