"""Which versions the local server holds, and when they come and go; without a network."""

import concurrent.futures
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest
from google.protobuf import text_format

from tests import tiny_models
from tests.tiny_models import until
from tfae.servable import Request
from tfae.serving import StatusError
from tfae.serving.local.models import Models
from tfae.serving.local.prediction import find_signature, run
from tfae.serving.model_config import make_config, read_models, select_versions
from tfae.serving.status import ModelSpec, VersionStatus

X = np.array([[1, 2], [3, 4]], "float32")
POLL = 0.02
LIST, A = "model_config_list { %s }", "name: 'a' base_path: '/a'"


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Models that multiply by 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("templates")
    for factor in (1, 2, 3):
        tiny_models.write(folder / str(factor), factor)
    return folder


@pytest.fixture
def publish(templates, tmp_path):
    """Publishes version N of the model "tiny", which multiplies by N unless told otherwise."""

    def published(version, factor=None, base=tmp_path / "tiny", **options):
        tiny_models.publish(templates / str(factor or version), base, version, **options)

    return published


@pytest.fixture
def start(tmp_path):
    """Starts models, and stops them when the test is over."""
    started = []

    def models(configs=None, **options):
        wanted = configs or partial(read_models, tmp_path / "tiny")
        new = Models(wanted, **{"poll_seconds": POLL, **options})
        started.append(new)
        new.start(timeout=60)
        return new

    yield models
    for new in started:
        assert new.stop(grace=10)


NEWEST = ModelSpec("tiny")


def ask(models, spec=NEWEST, signature="", **inputs):
    _, servable = models.find(spec)
    return ask_held(servable, signature, **inputs)


def ask_held(servable, signature="", **inputs):
    return run(servable, find_signature(servable, signature), inputs or {"x": X})


def states(models, name="tiny"):
    return {status.version: status.state for status in models.status(name)}


def configs(folder, policy, **labels):
    config = make_config("tiny", folder / "tiny")
    config.version_labels.update(labels)
    config.model_version_policy.Clear()
    text_format.Parse(policy, config.model_version_policy)
    return lambda: [config]


def expect_error(code, text, call, *arguments, **keywords):
    with pytest.raises(StatusError) as raised:
        call(*arguments, **keywords)
    assert (raised.value.code, raised.value.message) == (code, text)


def test_the_newest_version_is_served_and_no_other_one(publish, start):
    publish(1)
    publish(2)
    models = start()
    np.testing.assert_array_equal(ask(models)["y"], X * 2)
    assert models.status("tiny") == [VersionStatus(2, "AVAILABLE")]
    assert models.available() == {"tiny": [2]}
    expect_error("NOT_FOUND", "Servable not found for request: Specific(tiny, 1)", ask, models, ModelSpec("tiny", 1))
    expect_error("NOT_FOUND", "Servable not found for request: Latest(other)", ask, models, ModelSpec("other"))
    expect_error("NOT_FOUND", "Could not find any versions of model other", models.status, "other")
    expect_error("NOT_FOUND", "Could not find version 9 of model tiny", models.status, "tiny", 9)
    with pytest.raises(StatusError, match=r"FAILED_PRECONDITION: signature_name: expected one of .*; received 'no'"):
        ask(models, signature="no")


def test_new_versions_are_swapped_in_without_a_failed_or_a_wrong_answer(publish, start):
    publish(1)
    models = start()
    done, seen = threading.Event(), set()

    def keep_asking():
        while not done.is_set():
            version, servable = models.find(NEWEST)
            np.testing.assert_array_equal(ask_held(servable)["y"], X * version.number)
            seen.add(version.number)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        askers = [pool.submit(keep_asking) for _ in range(3)]
        try:
            for version in (2, 3):
                publish(version)
                until(lambda version=version: version in seen)
        finally:
            done.set()
    for asker in askers:
        asker.result()
    assert seen == {1, 2, 3}
    until(lambda: states(models) == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_a_version_that_was_replaced_answers_who_holds_it_and_is_given_back_with_the_last(publish, start):
    publish(1)
    models = start()
    _, held = models.find(NEWEST)
    publish(2)
    until(lambda: states(models) == {2: "AVAILABLE", 1: "END"})
    np.testing.assert_array_equal(ask(models)["y"], X * 2)
    expect_error("NOT_FOUND", "Servable not found for request: Specific(tiny, 1)", ask, models, ModelSpec("tiny", 1))
    np.testing.assert_array_equal(ask_held(held)["y"], X)
    session = weakref.ref(held._session)
    del held
    assert session() is None


def test_a_damaged_version_leaves_the_one_before_and_the_next_one_comes(publish, start, tmp_path):
    publish(1)
    models = start()
    broken = tmp_path / "tiny" / "2"
    (tmp_path / "tiny" / "staged").mkdir()
    (tmp_path / "tiny" / "staged" / "saved_model.pb").write_bytes(b"this is not a protocol buffer")
    (tmp_path / "tiny" / "staged").rename(broken)
    until(lambda: states(models).get(2) == "END")
    assert models.status("tiny", 2) == [
        VersionStatus(2, "END", "DATA_LOSS", f"Can't parse {broken}/saved_model.pb as binary proto")
    ]
    np.testing.assert_array_equal(ask(models)["y"], X)
    publish(3)
    until(lambda: states(models) == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_a_folder_without_a_model_ends_as_not_found_and_is_tried_again_only_after_it_was_away(publish, start, tmp_path):
    publish(1)
    models = start()
    (tmp_path / "tiny" / "2").mkdir()
    until(lambda: states(models).get(2) == "END")
    (status,) = models.status("tiny", 2)
    assert status.error_code == "NOT_FOUND"
    assert status.error_message.startswith("Could not find SavedModel .pb or .pbtxt at supplied export directory path")
    assert states(models)[1] == "AVAILABLE"
    (tmp_path / "tiny" / "2").rmdir()
    time.sleep(5 * POLL)
    publish(2)
    until(lambda: states(models) == {2: "AVAILABLE", 1: "END"})


def test_a_version_is_offered_only_if_every_warm_up_request_is_answered(publish, start):
    publish(1)
    models = start()
    good = Request("", {"x": X}), Request("finite", {"x": np.zeros(3, "float32")})
    publish(2, warmup=good)
    until(lambda: states(models) == {2: "AVAILABLE", 1: "END"})
    publish(3, warmup=[*good, Request("finite", {"x": np.array([np.inf], "float32")})])
    until(lambda: states(models).get(3) == "END")
    (status,) = models.status("tiny", 3)
    assert status.error_code == "INVALID_ARGUMENT"
    assert "x is not finite : Tensor had Inf" in status.error_message
    np.testing.assert_array_equal(ask(models)["y"], X * 2)


def test_folder_names_are_read_as_numbers_where_they_are_some(publish, start, tmp_path):
    publish("0002", 2)
    for name in ("x", "3x", "-4", ".staging-5", "6.0", "٧", "1_0", "9" * 19):
        (tmp_path / "tiny" / name).mkdir()
    models = start(configs(tmp_path, "all {}"))
    assert models.status("tiny") == [VersionStatus(2, "AVAILABLE")]
    np.testing.assert_array_equal(ask(models, ModelSpec("tiny", 2))["y"], X * 2)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", [3]),
        ("latest {}", [3]),
        ("latest { num_versions: 2 }", [2, 3]),
        ("all {}", [1, 2, 3]),
        ("specific { versions: 9 versions: 3 versions: 1 }", [1, 3]),
    ],
)
def test_the_policy_says_which_versions_are_served(publish, start, tmp_path, policy, expected):
    for version in (1, 2, 3):
        publish(version)
    assert start(configs(tmp_path, policy)).available() == {"tiny": expected}


def test_a_label_stands_for_its_version(publish, start, tmp_path):
    publish(1)
    publish(2)
    models = start(configs(tmp_path, "all {}", stable=1, missing=9))
    np.testing.assert_array_equal(ask(models)["y"], X * 2)
    np.testing.assert_array_equal(ask(models, ModelSpec("tiny", label="stable"))["y"], X)
    expect_error(
        "INVALID_ARGUMENT", "Unrecognized servable version label: x", ask, models, ModelSpec("tiny", label="x")
    )
    expect_error(
        "INVALID_ARGUMENT", "Unrecognized servable version label: x", ask, models, ModelSpec("other", label="x")
    )
    missing = ModelSpec("tiny", label="missing")
    expect_error("NOT_FOUND", "Servable not found for request: Specific(tiny, 9)", ask, models, missing)


def test_when_the_last_folder_goes_the_version_goes_and_when_the_base_path_goes_it_stays(publish, start, tmp_path):
    publish(1)
    models = start()
    (tmp_path / "tiny").rename(tmp_path / "away")
    time.sleep(5 * POLL)
    assert states(models) == {1: "AVAILABLE"}
    (tmp_path / "tiny").mkdir()
    until(lambda: states(models) == {1: "END"})
    publish(2)
    until(lambda: states(models).get(2) == "AVAILABLE")


def test_a_config_file_is_read_again_when_it_changes_and_kept_when_it_breaks(publish, start, tmp_path, caplog):
    publish(1)
    publish(2, base=tmp_path / "second")
    first, second = (
        f"config {{ name: '{name}' base_path: '{tmp_path / name}' model_platform: 'tensorflow' }}"
        for name in ("tiny", "second")
    )
    file = tmp_path / "models.config"
    file.write_text(LIST % first)
    models = start(partial(read_models, file))
    assert models.available() == {"tiny": [1]}
    file.write_text("model_config_list { config {")
    until(lambda: "What was served before still is." in caplog.text)
    assert models.available() == {"tiny": [1]}
    file.write_text(LIST % f"{first} {second}")
    until(lambda: models.available() == {"tiny": [1], "second": [2]})
    file.write_text(LIST % second)
    until(lambda: models.available() == {"second": [2]} and states(models) == {1: "END"})
    expect_error("NOT_FOUND", "Servable not found for request: Latest(tiny)", ask, models)


def test_what_can_not_be_run_says_so_and_python_never_runs(publish, start):
    publish(1)
    models = start()
    for signature, x, message in (
        ("python", X, "INVALID_ARGUMENT: No OpKernel was registered to support Op 'EagerPyFunc'"),
        ("numpy", X, "INVALID_ARGUMENT: No OpKernel was registered to support Op 'PyFunc'"),
        ("xla", X, "INTERNAL: XLA compilation disabled"),
        ("finite", np.array([np.nan], "float32"), "INVALID_ARGUMENT: x is not finite : Tensor had NaN"),
    ):
        with pytest.raises(StatusError, match=f"^{message}"):
            ask(models, signature=signature, x=x)
    # Neither shapes nor row counts are compared with the signature, by the real server or here.
    np.testing.assert_array_equal(ask(models, x=X[:0])["y"], X[:0])
    np.testing.assert_array_equal(ask(models)["y"], X)
    assert tiny_models.EXECUTED == []


def test_a_model_that_runs_python_at_load_is_not_loaded(publish, start, tmp_path):
    publish(1)
    models = start()
    tiny_models.write_with_python_at_load(tmp_path / "template")
    tiny_models.publish(tmp_path / "template", tmp_path / "tiny", 2)
    until(lambda: states(models).get(2) == "END")
    (status,) = models.status("tiny", 2)
    assert status.error_code == "INVALID_ARGUMENT"
    assert status.error_message.startswith("No OpKernel was registered to support Op 'PyFunc'")
    assert tiny_models.EXECUTED == []


def test_xla_runs_where_it_is_allowed(publish, start):
    publish(1)
    np.testing.assert_array_equal(ask(start(allow_xla=True), signature="xla")["y"], X / 2)


def test_what_is_being_loaded_is_waited_for_at_the_end_but_not_for_ever(publish, tmp_path, monkeypatch):
    is_over = threading.Event()
    monkeypatch.setattr("tfae.serving.local.models.load", lambda *_, **__: is_over.wait(60))
    publish(1)
    models = Models(partial(read_models, tmp_path / "tiny"), poll_seconds=POLL)
    with pytest.raises(TimeoutError, match=r"expected the models to be loaded within 0\.1 s"):
        models.start(timeout=0.1)
    assert not models.stop(grace=0.1)
    is_over.set()
    assert models.stop(grace=60)


def test_a_source_names_what_is_wrong_with_a_folder(publish, tmp_path):
    with pytest.raises(ValueError, match=r"models: expected a folder with a model's versions.*received .*nowhere"):
        read_models(tmp_path / "nowhere")
    publish(1)
    with pytest.raises(ValueError, match=r"received one version, .*1. Take .*tiny"):
        read_models(tmp_path / "tiny" / "1")
    with pytest.raises(ValueError, match="name: expected a name without / and :"):
        read_models(tmp_path / "tiny", name="a:b")
    with pytest.raises(ValueError, match="models: expected at least one model; received none"):
        Models(list)
    (only,) = read_models(tmp_path / "tiny", name="digits", labels={"stable": 1})
    assert (only.name, [*select_versions(only)], only.version_labels) == ("digits", [1], {"stable": 1})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model_config_list {", "expected a ModelServerConfig in protobuf's text format"),
        ("", "with a model_config_list"),
        (LIST % "config { base_path: '/a' }", "expected a name for every model"),
        (LIST % "config { name: 'a' }", "expected a base_path for every model"),
        (LIST % f"config {{ {A} model_platform: 'other' }}", "model_platform: 'tensorflow'; received 'other' for a"),
        (LIST % f"config {{ {A} }} config {{ {A} }}", "received a twice"),
    ],
)
def test_a_model_config_file_that_cannot_be_is_refused(tmp_path, text, problem):
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(ValueError, match=f"model config file: .*{problem}"):
        read_models(tmp_path / "models.config")
