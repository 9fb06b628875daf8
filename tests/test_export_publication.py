"""Publication: a version is there whole or not at all, whatever happens to the exporter."""

import concurrent.futures
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf

from tfae import export, models
from tfae.export import publication
from tfae.losses import SquaredError
from tfae.versions import list_versions

ROOT = Path(__file__).parents[1]
#: Files of a version, in the order in which they are written; the last one tells that all are there.
FILES = {"variables/data": b"0" * 10_000, "saved_model.pb": b"1" * 1000, "last": b"2"}


def write(folder):
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def is_whole(version):
    return all((version / name).read_bytes() == content for name, content in FILES.items())


def test_versions_are_whole_and_nothing_else_stays_behind(tmp_path):
    for number in ("1", "2"):
        published = publication.publish(tmp_path / "digits", write)
        assert published == tmp_path / "digits" / number
        assert is_whole(published)
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == ["1", "2"]


def test_a_version_has_reached_the_disk_before_it_gets_its_number(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(publication, "flush", lambda path: events.append(path))
    rename = Path.rename

    def record(self, target):
        events.append("rename" if self.name == "version" else "other")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", record)
    publication.publish(tmp_path, write)
    before, after = events[: events.index("rename")], events[events.index("rename") + 1 :]
    assert {path.name for path in before} == {"variables", "data", "saved_model.pb", "last", "version"}
    assert after[0] == tmp_path


def test_the_next_number_is_that_after_the_highest_and_nothing_that_exists_is_replaced(tmp_path):
    (tmp_path / "1").write_text("a file")
    (tmp_path / "2").symlink_to(tmp_path / "nowhere")
    for name in ("0007", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_text("a model")
    assert [publication.publish(tmp_path, write).name for _ in range(2)] == ["8", "9"]
    assert (tmp_path / "1").read_text() == "a file"
    assert (tmp_path / "2").is_symlink()
    assert (tmp_path / "0007" / "saved_model.pb").read_text() == "a model"


@pytest.mark.parametrize(
    "take", [Path.touch, lambda path: path.symlink_to("nowhere"), lambda path: path.mkdir() or write(path)]
)
def test_a_number_that_another_takes_meanwhile_is_passed_over(take, tmp_path):
    def write_while_another_is_faster(folder):
        write(folder)
        take(tmp_path / "1")

    assert publication.publish(tmp_path, write_while_another_is_faster).name == "2"


def test_every_account_can_read_what_is_published_whatever_the_umask(tmp_path):
    tmp_path.chmod(0o700)
    before = os.umask(0o077)
    try:
        published = publication.publish(tmp_path / "saved_models" / "digits", write)
    finally:
        os.umask(before)
    made = [tmp_path / "saved_models", tmp_path / "saved_models" / "digits", published, *published.rglob("*")]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in made} == {
        **dict.fromkeys(["saved_models", "digits", "1", "variables"], "0o755"),
        **dict.fromkeys(["data", "saved_model.pb", "last"], "0o644"),
    }
    assert tmp_path.stat().st_mode & 0o777 == 0o700  # It was there, and is its owner's business.


def test_exporters_at_once_get_numbers_of_their_own(tmp_path):
    begin = threading.Barrier(8)

    def export_three(_):
        begin.wait()
        return [publication.publish(tmp_path, write) for _ in range(3)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        published = [path for paths in pool.map(export_three, range(8)) for path in paths]
    assert sorted(int(path.name) for path in published) == list(range(1, 25))
    assert all(is_whole(path) for path in published)
    assert list(list_versions(tmp_path)) == list(range(1, 25))
    assert len(list(tmp_path.iterdir())) == 24


def kill_one_of_two(directory):
    """Kill an exporter that hangs when all but the last file is written, while another one waits for it."""
    reader, writer = os.pipe()

    def hang(folder):
        write(folder)
        (folder / "last").unlink()
        os.write(writer, b"!")
        time.sleep(60)

    exporters = []
    for work in (hang, write):
        exporters.append(os.fork())
        if exporters[-1] == 0:
            publication.publish(directory, work)
            os._exit(0)
        if work is hang:
            assert os.read(reader, 1) == b"!"
    killed, waiting = exporters
    try:
        time.sleep(0.2)
        (staging,) = directory.glob(".staging-*")
        assert (staging / "version" / "saved_model.pb").read_bytes() == FILES["saved_model.pb"]
        assert list_versions(directory) == {}
    finally:
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
    assert os.waitpid(waiting, 0)[1] == 0
    assert is_whole(directory / "1")


def kill_many(directory):
    """Begin ten exporters that publish without end, one after the other, and kill each a little later than the last."""
    for number in range(10):
        process = os.fork()
        if process == 0:
            while True:
                publication.publish(directory, write)
        time.sleep(0.02 + 0.007 * number)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        assert all(is_whole(version) for version in list_versions(directory).values())


def export_with_little_room(directory, limit=20_000):
    """An export by a process that may write files of at most ``limit`` bytes; prints how it ended."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    model = models.dense((64,), latent_dim=4)
    model.compile("adam", loss=SquaredError())
    try:
        export.save(model, directory)
    except ValueError as error:
        print(error)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a process without threads, which can fork, has left in these folders, and what it has printed."""
    folder = tmp_path_factory.mktemp("alone")
    tasks = [kill_one_of_two, kill_many, export_with_little_room]  # This last one runs TensorFlow.
    code = "from tests.test_export_publication import *\n"
    for task in tasks:
        (folder / task.__name__).mkdir()
        code += f"{task.__name__}(Path({str(folder / task.__name__)!r}))\n"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_what_a_killed_exporter_left_is_cleared_but_not_what_a_living_one_writes(alone):
    folder = alone[0] / "kill_one_of_two"
    assert publication.publish(folder, write).name == "2"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def without_space(folder):
    write(folder)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def tensorflow_without_space(folder):
    raise tf.errors.ResourceExhaustedError(None, None, "variables.data; No space left on device")


def fail(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(
    ("writing", "broken", "reason"),
    [
        (without_space, (), "No space left"),
        (tensorflow_without_space, (), ".*No space left"),
        (write, (os, "fsync", fail), "Input/output error"),
        (write, (Path, "rename", fail), "Input/output error"),
    ],
)
def test_a_disk_that_fails_is_a_clear_error_and_nothing_is_published(writing, broken, reason, tmp_path, monkeypatch):
    if broken:
        monkeypatch.setattr(*broken)
    message = rf"^directory: expected a folder to write to; received \S+ \({reason}.*\)\. Nothing was published"
    with pytest.raises(ValueError, match=message):
        publication.publish(tmp_path, writing)
    assert list(tmp_path.iterdir()) == []


NO_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has /proc")
ROOT_WRITES = pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("file", "File exists"),
        ("file/below", "Not a directory"),
        pytest.param("read_only", "Permission denied", marks=ROOT_WRITES),
        pytest.param("/proc/self/digits", "", marks=NO_PROC),  # Where even root makes no folder.
    ],
)
def test_a_folder_that_can_not_be_written_to_is_a_clear_error(folder, reason, tmp_path):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "read_only").mkdir(0o555)
    with pytest.raises(ValueError, match=rf"expected a folder to write to; received \S*{folder} \({reason}"):
        publication.publish(tmp_path / folder, write)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "read_only"]


def test_an_export_without_room_for_its_files_is_a_clear_error(alone):
    folder, printed = alone
    assert "directory: expected a folder to write to; received" in printed
    assert "File too large" in printed
    assert list((folder / "export_with_little_room").iterdir()) == []


def test_kills_at_any_instant_leave_no_incomplete_version(alone):
    """A few; ``benchmarks/publication.py`` does it a hundred times, with real exports."""
    folder = alone[0] / "kill_many"
    assert list_versions(folder)  # or the kills came too early
    last = publication.publish(folder, write)
    assert all(path.name.isdigit() for path in folder.iterdir())
    assert int(last.name) == len(list_versions(folder))


def test_an_interrupted_export_leaves_nothing_behind(tmp_path):
    def interrupt(folder):
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publication.publish(tmp_path, interrupt)
    assert list(tmp_path.iterdir()) == []
