"""Scores by Apache Beam: the rows of one process, each once, in shards that are whole or not there."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

pytest.importorskip("apache_beam", reason="the extra beam is not installed; make test-beam installs it")

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

from tests.commands import run
from tests.samples import write_examples
from tfae import datasets, detection, export, losses, models, scoring, training
from tfae.cli import main
from tfae.datasets import parquet_files
from tfae.scoring import beam

NUM_FILES, NUM_ROWS = 3, 50
BEAM = ("--runner", "DirectRunner")
#: What rounding may do to sums in batches of another size.
RTOL = 1e-5


def make_table(number, num_rows=NUM_ROWS):
    rng = np.random.default_rng(number)
    return pa.table(
        {
            "id": [f"{number}-{row}" for row in range(num_rows)],
            "amount": rng.gamma(2, 50, num_rows),
            "country": rng.choice(["DE", "FR", "US"], num_rows),
            "age": rng.integers(18, 80, num_rows).astype(float),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the same tables as Parquet and as texts, and an export with a calibration."""
    folder = tmp_path_factory.mktemp("beam")
    (folder / "shards").mkdir()
    for number in range(NUM_FILES):
        pa.parquet.write_table(make_table(number), folder / "shards" / f"{number}.parquet", row_group_size=20)
        pa.csv.write_csv(make_table(number), folder / "shards" / f"{number}.csv")
        rows = [{name: [cell] for name, cell in row.items()} for row in make_table(number).to_pylist()]
        write_examples(folder / "shards" / f"{number}.tfrecord", rows)
    data = datasets.load(str(folder / "shards" / "*.parquet"), drop=["id"])
    keras.utils.set_random_seed(0)
    model = models.dense(data.shape, latent_dim=2, widths=(4,))
    training.compile(model, losses.for_table(losses.SquaredError(), data.preprocessing), data, epochs=1)
    model.fit(data.train, verbose=0, shuffle=False)
    plain = export.save(model, folder / "plain", data=data)
    calibration = detection.calibrate(model, data, false_alarm_rate=0.2)
    export.save(model, folder / "model", data=data, calibration=calibration)
    assert not export.load(plain).detects
    return folder


def read_shards(output):
    """All rows, in the order of what they are called."""
    tables = map(pa.parquet.read_table, sorted(Path(output).parent.glob(f"{Path(output).stem}-*-of-*.parquet")))
    return pa.concat_tables(tables).sort_by("id")


def assert_same_rows(found, expected):
    """Those of one process, but for the place of a row, which is that in its file."""
    expected = expected.sort_by("id")
    assert found.schema == expected.schema
    for name in found.column_names:
        if name == "index" and "file" in found.column_names:
            assert found[name].to_pylist() == [int(each.split("-")[1]) for each in found["id"].to_pylist()]
        elif pa.types.is_floating(found.schema.field(name).type):
            ours, theirs = (table[name].to_numpy().astype(float) for table in (found, expected))
            np.testing.assert_allclose(ours, theirs, rtol=RTOL, err_msg=name)
        else:
            assert found[name].to_pylist() == expected[name].to_pylist(), name


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tfrecord"])
@pytest.mark.parametrize("model", ["model", "plain"])
def test_the_rows_are_those_of_one_process_and_each_is_there_once(folder, tmp_path, monkeypatch, suffix, model):
    monkeypatch.setattr(parquet_files, "PIECE", 30)
    monkeypatch.setattr(beam, "CHUNK", 16)
    given = ("score", folder / model, f"{folder}/shards/*.{suffix}", "--keep", "id,amount", "--explain", 2)
    run(*given, "-o", tmp_path / "one.parquet")
    said = run(*given, "-o", tmp_path / "many" / "part.parquet", *BEAM).stderr
    assert "150 samples" in said
    expected = pa.parquet.read_table(tmp_path / "one.parquet")
    assert_same_rows(read_shards(tmp_path / "many" / "part.parquet"), expected)
    assert ("p_value" in expected.column_names) == (model == "model")
    if model == "model":
        assert f"{expected['is_outlier'].to_pylist().count(True)} alarms, at a false-alarm rate of 0.2" in said
    written = [path.name for path in (tmp_path / "many").iterdir()]
    assert written == [f"part-{number:05}-of-{len(written):05}.parquet" for number in range(len(written))]


def test_of_one_file_there_is_no_column_that_names_it(folder, tmp_path):
    given = ("score", folder / "plain", folder / "shards" / "1.parquet", "--keep", "id")
    run(*given, "-o", tmp_path / "one.parquet")
    run(*given, "-o", tmp_path / "part.parquet", *BEAM)
    assert_same_rows(read_shards(tmp_path / "part.parquet"), pa.parquet.read_table(tmp_path / "one.parquet"))


def test_rows_that_can_not_be_scored_have_their_reason(folder, tmp_path):
    for number in range(2):
        lines = (folder / "shards" / f"{number}.csv").read_text().splitlines()
        lines[3 + number] = f'"{number}-{2 + number}",oops,"DE",30'
        (tmp_path / f"{number}.csv").write_text("\n".join(lines))
    (tmp_path / "2.csv").write_text("id,amount,country,age\n")  # No row at all.
    given = ("score", folder / "plain", f"{tmp_path}/*.csv", "--keep", "id", "--explain", 1)
    run(*given, "-o", tmp_path / "one.parquet")
    said = run(*given, "-o", tmp_path / "part.parquet", *BEAM).stderr
    assert "2 of them have no score; their reasons are beside them" in said
    found = read_shards(tmp_path / "part.parquet")
    assert_same_rows(found, pa.parquet.read_table(tmp_path / "one.parquet"))
    reasons = {row["id"]: row["reason"] for row in found.to_pylist() if row["instance_score"] is None}
    assert reasons == dict.fromkeys(["0-2", "1-3"], "'oops' in column 'amount', where a number is expected")


def test_shards_none_of_whose_rows_can_be_scored_are_an_error(folder, tmp_path):
    (tmp_path / "bad.csv").write_text("id,amount,country,age\na,?,DE,3\nb,?,FR,4\n")
    said = run("score", folder / "plain", tmp_path / "bad.csv", "-o", tmp_path / "part.parquet", *BEAM, code=2).stderr
    assert "expected samples that the model can score; received none. The reasons are in" in " ".join(said.split())


def test_labels_and_columns_that_are_folders_are_written_as_of_one_process(folder, tmp_path):
    for number, day in enumerate(["05", "06"]):
        path = tmp_path / "days" / f"day={day}" / "rows.csv"
        path.parent.mkdir(parents=True)
        pa.csv.write_csv(make_table(number).append_column("class", pa.array(["ok", None] * 25)), path)
    given = ("score", folder / "plain", f"{tmp_path}/days", "--keep", "id,day", "--label", "class")
    run(*given, "-o", tmp_path / "one.parquet")
    run(*given, "-o", tmp_path / "part.parquet", *BEAM)
    found = read_shards(tmp_path / "part.parquet")
    assert_same_rows(found, pa.parquet.read_table(tmp_path / "one.parquet"))
    assert found["day"].to_pylist() == [5] * 50 + [6] * 50


def refuse(*arguments, code=2):
    return " ".join(run("score", *arguments, code=code).stderr.split())


def test_shards_that_are_there_are_refused(folder, tmp_path):
    (tmp_path / "part-00000-of-00002.parquet").touch()
    given = (folder / "plain", f"{folder}/shards/*.csv")
    said = refuse(*given, "-o", tmp_path / "part.parquet", *BEAM)
    assert "Error: --output: expected no shards yet" in said
    assert "part-00000-of-00002.parquet. Delete them, or choose another name." in said
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000-of-00002.parquet"]


@pytest.mark.parametrize("output", ["shards/scores.parquet", "shards/0.parquet", "shards/part.parquet"])
@pytest.mark.parametrize("source", ["shards", "shards/*.parquet", "shards/*-of-*.parquet"])
def test_shards_that_would_be_read_as_input_are_refused(folder, tmp_path, monkeypatch, source, output):
    monkeypatch.chdir(folder)
    said = refuse(folder / "plain", source, "-o", output, *BEAM)
    assert "Error: --output: expected a place outside of what is read" in said
    assert not list(folder.glob("shards/*-of-*"))


def test_what_is_no_table_in_files_is_refused(folder, tmp_path):
    rows = np.random.default_rng(0).random((30, 3))
    np.save(tmp_path / "rows.npy", rows)
    data = datasets.load(tmp_path / "rows.npy")
    model = models.dense(data.shape, latent_dim=2, widths=(4,))
    training.compile(model, losses.SquaredError(), data, epochs=1)
    export.save(model, tmp_path / "model", data=data)
    said = refuse(tmp_path / "model", tmp_path / "rows.npy", "-o", tmp_path / "part.parquet", *BEAM)
    assert "Error: SOURCE: expected a table in .parquet, .tfrecord or text files" in said
    images = datasets.open_source(np.zeros((4, 8, 8), "uint8"))
    with pytest.raises(ValueError, match=r"expected a table in \.parquet, \.tfrecord or text files.*which is images"):
        beam.score(export.load(tmp_path / "model"), images, tmp_path / "part.parquet")
    frame = datasets.open_source(make_table(0), drop=["id"])
    with pytest.raises(ValueError, match=r"expected a table in \.parquet, \.tfrecord or text files"):
        beam.score(export.load(folder / "plain"), frame, tmp_path / "part.parquet")
    assert not list(tmp_path.glob("*.parquet"))


def test_time_series_are_refused(folder, tmp_path):
    pa.csv.write_csv(pa.table({"a": np.arange(40.0), "b": np.arange(40.0) ** 2}), tmp_path / "series.csv")
    data = datasets.load(tmp_path / "series.csv", window=4)
    model = models.dense(data.shape, latent_dim=2, widths=(4,))
    training.compile(model, losses.SquaredError(), data, epochs=1)
    export.save(model, tmp_path / "model", data=data)
    given = (tmp_path / "model", tmp_path / "series.csv", "-o", tmp_path / "part.parquet", *BEAM, "--window", 4)
    assert "Error: SOURCE: expected rows that do not depend on each other; received windows" in refuse(*given)
    assert "Error: --events: expected None with --runner" in refuse(*given, "--events", tmp_path / "events.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("-o", "part.csv", *BEAM),
            "--output: expected a name for shards, such as scores/part.parquet; received part.csv",
        ),
        (("-o", "part.parquet", *BEAM, "--keep", "idd"), "--keep: expected a column of .*Did you mean 'id'"),
        (("-o", "part.parquet", *BEAM, "--keep", "id", "--explain", 9), "--explain: expected at most 3"),
        (("-o", "part.parquet", "--runner", "LocalRunner"), "'LocalRunner' is not one of 'DirectRunner'"),
        (("-o", "part.parquet", "--runner", "DataflowRunner"), "SOURCE: expected files that the workers of Dataflow"),
        (("-o", "part.parquet", *BEAM, "--", "more.csv"), r"unexpected extra arguments \(more.csv\)"),
        (
            ("-o", "part.parquet", *BEAM, "--", "--direct_num_worker=2"),
            "received --direct_num_worker. Did you mean 'di",
        ),
        (
            ("-o", "part.parquet", *BEAM, "--", "--direct_num_workers=x"),
            "argument --direct_num_workers: invalid int va",
        ),
    ],
)
def test_what_can_not_be_done_is_refused_before_there_is_a_job(folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    said = refuse(folder / "plain", f"{folder}/shards/*.csv", *options)
    assert re.search(message, said), said
    assert not list(tmp_path.iterdir())


class Bucket(LocalFileSystem):
    """A file system of URLs, bucket:///folder/name, which are on this disk."""

    @classmethod
    def scheme(cls):
        return "bucket"

    def _local(self, url):
        return url.removeprefix("bucket://")

    def join(self, base, *paths):
        return "/".join([base.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        super().mkdirs(self._local(path))

    def _list(self, url):
        for found in super()._list(self._local(url)):
            found.path = f"bucket://{found.path}"
            yield found

    def open(self, path, *arguments, **options):
        return super().open(self._local(path), *arguments, **options)

    def create(self, path, *arguments, **options):
        return super().create(self._local(path), *arguments, **options)

    def rename(self, sources, destinations):
        super().rename(*([*map(self._local, paths)] for paths in (sources, destinations)))

    def delete(self, paths):
        super().delete([*map(self._local, paths)])

    def exists(self, path):
        return super().exists(self._local(path))


def test_files_by_url_are_fetched_and_shards_written_there(folder, tmp_path):
    assert Bucket in FileSystem.get_all_subclasses()
    for suffix in ("parquet", "csv"):
        given = ("score", folder / "model", "--keep", "id", "--explain", 1)
        run(*given, f"{folder}/shards/*.{suffix}", "-o", tmp_path / "one.parquet")
        output = f"bucket://{tmp_path}/{suffix}/part.parquet"
        said = run(*given, f"bucket://{folder}/shards/*.{suffix}", "-o", output, *BEAM).stderr
        assert f"bucket://{tmp_path}/{suffix}/part-*-of-*.parquet: 150 samples" in said
        expected = pa.parquet.read_table(tmp_path / "one.parquet")
        assert_same_rows(read_shards(tmp_path / suffix / "part.parquet"), expected)
    given = (folder / "model", f"bucket://{folder}/shards/*.csv")
    assert "--output: expected no shards yet" in refuse(*given, "-o", output, *BEAM)
    given = (folder / "model", f"bucket://{folder}/shards/*.parquet")
    assert "--output: expected a place outside" in refuse(*given, "-o", f"bucket://{folder}/shards/a.parquet", *BEAM)
    said = refuse(*given, "-o", tmp_path / "part.parquet", "--runner", "DataflowRunner")
    assert "--output: expected files that the workers of Dataflow reach" in said
    given = (folder / "model", f"bucket://{folder}/nowhere/*.parquet")
    said = refuse(*given, "-o", f"bucket://{tmp_path}/none/part.parquet", *BEAM)
    assert "SOURCE: expected a pattern that files fit to" in said


def command_of(model, source, output, *options):
    """The command in a process of its own, as a list of texts."""
    command = [sys.executable, "-m", "tfae", "score", model, source, "-o", output, "--keep", "id", *BEAM, *options]
    return [*map(str, command)]


def test_a_file_that_is_damaged_fails_the_job_and_no_shard_is_there(folder, tmp_path):
    for number in range(2):  # The first block is read before there is a job.
        pa.parquet.write_table(make_table(number, scoring.CHUNK), tmp_path / f"{number}.parquet")
    damaged = tmp_path / "1.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:20_000] + bytes(1000) + content[21_000:])
    # In a process of its own, for Beam leaves a file open.
    command = command_of(folder / "plain", f"{tmp_path}/*.parquet", tmp_path / "scores" / "part.parquet")
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]
    assert "Error: DirectRunner: expected a job that ends; it failed: source: expected a .parquet file; rece" in error
    assert "1.parquet', which is damaged" in error
    assert not list(tmp_path.glob("scores/part-*"))


def test_a_job_that_fails_while_it_names_its_shards_says_that_some_are_there(folder, tmp_path, monkeypatch):
    def fail(_):
        (tmp_path / "part-00000-of-00002.parquet").touch()
        raise RuntimeError(
            "Traceback (most recent call last):\n  …\nOSError: disk gone [while running 'write/Finalize']"
        )

    monkeypatch.setattr("apache_beam.Pipeline.run", fail)
    said = refuse(folder / "plain", folder / "shards" / "0.csv", "-o", tmp_path / "part.parquet", *BEAM, code=1)
    assert "it failed: disk gone. What it has written is in a folder beam-temp-*, which can be deleted, and" in said
    assert f"and some of the shards are in {tmp_path}/part-*-of-*.parquet." in said


def list_workers(group):
    """Processes of a group that run Beam's worker, without the shells that have started them."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if os.getpgid(int(process.name)) == group:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
                found += [int(process.name)] if b"apache_beam.runners.worker.sdk_worker_main" in arguments else []
        except (ValueError, OSError):
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are found in /proc, which is not there")
def test_two_worker_processes_write_each_row_once_and_without_one_of_them_no_shard_is_there(folder, tmp_path):
    num_rows = 400_000
    (tmp_path / "shards").mkdir()
    for number in range(2):
        pa.parquet.write_table(make_table(number, num_rows), tmp_path / "shards" / f"{number}.parquet")
    output = tmp_path / "scores" / "part.parquet"
    given = (folder / "model", f"{tmp_path}/shards/*.parquet")
    command = command_of(*given, output, "--", "--direct_num_workers=2", "--direct_running_mode=multi_processing")
    with (tmp_path / "said").open("w+") as said:
        job = subprocess.Popen(command, stderr=said, start_new_session=True)
        try:
            # A file of a bundle is there once its worker has scored a block.
            while job.poll() is None and len([*output.parent.glob("beam-temp-*/*.parquet")]) < 2:
                time.sleep(0.01)
            workers = list_workers(job.pid)
            assert len(workers) == 2, (tmp_path / "said").read_text()
            os.kill(workers[0], signal.SIGKILL)
            assert job.wait(100) == 1
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
    error = (tmp_path / "said").read_text().splitlines()[-1]
    assert error.startswith("Error: DirectRunner: expected a job that ends; it failed: a worker was lost")
    (left,) = output.parent.iterdir()
    assert left.name.startswith("beam-temp-part-")
    # What is left does not stand in the way of the same command, nor is it read.
    subprocess.run(command, check=True, capture_output=True)
    opened = datasets.open_source(f"{output.parent}/**/*.parquet", columns=["instance_score"])
    assert all(name.startswith("part-") for name in opened.parts["all"].sample_names.files)
    found = read_shards(output)
    identifiers = np.char.add(np.repeat(["0-", "1-"], num_rows), np.tile(np.arange(num_rows).astype(str), 2))
    assert found["id"].to_pylist() == sorted(identifiers)
    run("score", *given, "-o", tmp_path / "one.parquet", "--keep", "id")
    assert_same_rows(found, pa.parquet.read_table(tmp_path / "one.parquet"))


@pytest.mark.parametrize("name", ["flink", "dataflow"])
def test_the_scripts_of_clusters_give_a_command_that_there_is_and_options_that_beam_knows(folder, tmp_path, name):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = Path(__file__).parents[1] / "docs" / "beam" / f"{name}.sh"
    said = subprocess.run([script], env=environment, capture_output=True, text=True, check=True).stdout
    _, *arguments = said.rstrip("\0").partition("\0score\0")[2].split("\0")
    parsed = main.commands["score"].make_context("score", [str(folder / "plain"), *arguments]).params
    assert parsed["runner"].lower() == f"{name}runner"
    assert parsed["source"].endswith("/shards/*.parquet")
    options = PipelineOptions([f"--runner={parsed['runner']}", *parsed["runner_options"]])
    assert options.get_all_options(retain_unknown_options=True).keys() == options.get_all_options().keys()
    assert PipelineOptionsValidator(options, type(parsed["runner"], (), {})()).validate() == []


def test_the_runners_that_can_be_asked_for_are_those_of_beam():
    (option,) = (each for each in main.commands["score"].params if each.name == "runner")
    assert {*option.type.choices, *beam.RUNNERS.values()} <= {*StandardOptions.KNOWN_RUNNER_NAMES}
