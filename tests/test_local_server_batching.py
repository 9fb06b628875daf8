"""Requests that the local server puts together, with a stand-in for the model that can be watched."""

import concurrent.futures
import threading
import time

import numpy as np
import pytest

from tests import tiny_models
from tfae.serving import StatusError
from tfae.serving.local.batching import Batcher
from tfae.serving.local.batching_parameters import BatchingParameters, read_batching_parameters_file
from tfae.serving.local.models import Models, ModelSpec
from tfae.serving.model_config import source

#: Long enough that requests sent together are batched together, on any machine.
PATIENT = {"max_batch_size": 8, "batch_timeout_micros": 500_000, "num_batch_threads": 1}


class Double:
    """Doubles rows, refuses NaN, and remembers how many rows each call had."""

    def __init__(self):
        self.calls = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def __call__(self, servable, signature_name, inputs):
        self.entered.release()
        assert self.gate.wait(30)
        self.calls.append(len(inputs["x"]))
        if np.isnan(inputs["x"]).any():
            raise StatusError("INVALID_ARGUMENT", "x is not finite")
        if signature_name == "total":
            return {"y": inputs["x"].sum()}
        if signature_name == "first":
            return {"y": inputs["x"][:1]}
        return {"y": inputs["x"] * 2}


@pytest.fixture
def batcher():
    started = []

    def make(**parameters):
        double = Double()
        new = Batcher(BatchingParameters(**{**PATIENT, **parameters}), double)
        new.start()
        started.append((new, double))
        return new, double

    yield make
    for new, double in started:
        double.gate.set()
        new.stop()


def together(batcher, requests, signature="double"):
    """What each of the requests, sent at the same time, is answered: an array, or an error."""

    def ask(x):
        try:
            return batcher.run(None, signature, {"x": x})["y"]
        except StatusError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


def until_something_waits(batcher):
    deadline = time.monotonic() + 30
    while not batcher._queue:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def rows(*values):
    return np.array(values, "float32").reshape(-1, 1)


def test_requests_that_come_together_are_run_together_and_answered_each_with_its_own_rows(batcher):
    batcher, double = batcher()
    requests = [rows(1, 2), rows(3), rows(4, 5, 6), rows(7, 8)]
    for answer, request in zip(together(batcher, requests), requests, strict=True):
        np.testing.assert_array_equal(answer, request * 2)
    assert double.calls == [8]


def test_a_bad_request_does_not_fail_its_neighbours(batcher):
    batcher, double = batcher()
    good, bad, other = together(batcher, [rows(1, 2), rows(np.nan), rows(3, 4, 5, 6, 7)])
    np.testing.assert_array_equal(good, [[2], [4]])
    np.testing.assert_array_equal(other, [[6], [8], [10], [12], [14]])
    assert (bad.code, bad.message) == ("INVALID_ARGUMENT", "x is not finite")
    assert sorted(double.calls) == [1, 2, 5, 8]


def test_rows_of_another_shape_are_run_apart(batcher):
    batcher, double = batcher()
    wide = np.ones((4, 3), "float32")
    answers = together(batcher, [rows(1, 2, 3, 4), wide, rows(5, 6, 7, 8), wide])
    assert [answer.shape for answer in answers] == [(4, 1), (4, 3), (4, 1), (4, 3)]
    assert double.calls == [8, 8]


def test_a_batch_that_is_not_full_is_run_when_its_time_has_come(batcher):
    batcher, double = batcher(batch_timeout_micros=1000)
    np.testing.assert_array_equal(batcher.run(None, "double", {"x": rows(1)})["y"], [[2]])
    assert double.calls == [1]


def test_no_rows_are_answered_at_once(batcher):
    batcher, double = batcher(batch_timeout_micros=10**9)
    assert batcher.run(None, "double", {"x": rows()})["y"].shape == (0, 1)
    assert double.calls == [0]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": rows(*range(9))}, "Task size 9 is larger than maximum input batch size 8"),
        ({"x": np.float32(1).reshape(())}, "Batching Run() input tensors must have at least one dimension"),
        ({"x": rows(1), "z": rows(1, 2)}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_what_cannot_be_batched_is_refused_in_the_words_of_the_real_server(batcher, inputs, message):
    with pytest.raises(StatusError) as raised:
        batcher()[0].run(None, "double", inputs)
    assert (raised.value.code, raised.value.message) == ("INVALID_ARGUMENT", message)


@pytest.mark.parametrize(
    ("signature", "message"), [("total", "has 0 dimensions"), ("first", "0th dimension does not equal the sum")]
)
def test_outputs_need_a_row_for_each_row_of_the_inputs(batcher, signature, message):
    with pytest.raises(StatusError, match=f"^FAILED_PRECONDITION: Batched output tensor.*{message}"):
        batcher(batch_timeout_micros=0)[0].run(None, signature, {"x": rows(1, 2)})


def test_a_large_request_is_split_where_that_is_asked_for(batcher):
    batcher, double = batcher(enable_large_batch_splitting=True, batch_timeout_micros=0)
    x = rows(*range(19))
    np.testing.assert_array_equal(batcher.run(None, "double", {"x": x})["y"], x * 2)
    assert sorted(double.calls) == [3, 8, 8]


def test_a_full_queue_refuses_further_batches(batcher):
    batcher, double = batcher(max_enqueued_batches=1, batch_timeout_micros=0)
    double.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(batcher.run, None, "double", {"x": rows(1)})
        assert double.entered.acquire(timeout=30)
        waiting = pool.submit(batcher.run, None, "double", {"x": rows(*range(8))})
        until_something_waits(batcher)
        with pytest.raises(StatusError, match=r"^UNAVAILABLE: The batch scheduling queue .* max_enqueued_batches is 1"):
            batcher.run(None, "double", {"x": rows(2)})
        double.gate.set()
        np.testing.assert_array_equal(running.result(30)["y"], [[2]])
        assert len(waiting.result(30)["y"]) == 8


def test_what_waits_at_the_end_is_still_answered_and_what_comes_later_is_refused(batcher):
    batcher, _ = batcher(batch_timeout_micros=10**9)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(batcher.run, None, "double", {"x": rows(1)})
        until_something_waits(batcher)
        batcher.stop()
        np.testing.assert_array_equal(waiting.result(30)["y"], [[2]])
    with pytest.raises(StatusError, match=r"^UNAVAILABLE: The server is shutting down\."):
        batcher.run(None, "double", {"x": rows(1)})


def test_a_model_answers_the_same_with_and_without_batching(tmp_path):
    tiny_models.write(tmp_path / "template", 3)
    tiny_models.publish(tmp_path / "template", tmp_path / "tiny", 1)
    batched = []
    parameters = BatchingParameters(max_batch_size=16, batch_timeout_micros=100_000, num_batch_threads=1)
    models = Models(source(tmp_path / "tiny"), poll_seconds=0, batching=parameters, batched=batched.append)
    models.start(timeout=60)
    try:

        def ask(signature, **inputs):
            with models.lease(ModelSpec("tiny")) as lease:
                return models.run(lease, signature, inputs)

        xs = [np.full((n, 2), n, "float32") for n in (1, 2, 3, 4)]
        texts = [np.array([b"a" * n, b"\xff\x00"], object) for n in range(3)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            numbers = [pool.submit(ask, "", x=x) for x in xs]
            strings = [pool.submit(ask, "strings", text=text) for text in texts]
            for answer, x in zip(numbers, xs, strict=True):
                np.testing.assert_array_equal(answer.result(30)["y"], x * 3)
            for answer, text in zip(strings, texts, strict=True):
                assert list(answer.result(30)["text"]) == [value + b"!" for value in text]
        assert sum(batched) == 16
        assert len(batched) < 7
    finally:
        assert models.stop()


def test_parameters_are_read_as_tensorflow_serving_reads_them(tmp_path, caplog):
    file = tmp_path / "batching.config"
    file.write_text("max_batch_size { value: 4 }\nbatch_timeout_micros { value: 1000 } # a comment\n")
    read = read_batching_parameters_file(file)
    assert (read.max_batch_size, read.batch_timeout_micros, read.max_enqueued_batches) == (4, 1000, 10)
    file.write_text("num_batch_threads { value: 2 } max_enqueued_batches { value: 16 } allowed_batch_sizes: 2")
    read = read_batching_parameters_file(file)
    assert (read.max_batch_size, read.num_batch_threads, read.max_enqueued_batches) == (1000, 2, 16)
    assert "takes no notice of allowed_batch_sizes" in caplog.text
    file.write_text("max_batch_size { value: 0 }")
    with pytest.raises(ValueError, match="max_batch_size: expected an integer of at least 1; received 0"):
        read_batching_parameters_file(file)
    file.write_text("batch_size: 4")
    with pytest.raises(ValueError, match=r'expected BatchingParameters .*has no field named "batch_size"'):
        read_batching_parameters_file(file)
    with pytest.raises(ValueError, match=r"expected BatchingParameters .*No such file"):
        read_batching_parameters_file(tmp_path / "missing")
