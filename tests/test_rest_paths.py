"""Which request a method and a path mean."""

import pytest

from tfae.serving.local.rest.paths import Route, VersionTooLargeError, is_api, path_of, route
from tfae.serving.status import StatusError


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/models/m:predict", Route("predict", "m")),
        ("POST", "/V1/Models/M/Versions/007:predict", Route("predict", "M", 7)),
        ("POST", "/v1/models/m/labels/a%2Fb:classify", Route("classify", "m", None, "a/b")),
        ("POST", "/v1/models/%61%3A%c3%a9:regress", Route("regress", "a:é")),
        ("POST", "/v1/models/%ff:predict", Route("predict", "\udcff")),
        ("GET", "/v1/models/m", Route("status", "m")),
        ("GET", "/v1/models/m?a=1", Route("status", "m?a=1")),
        ("GET", "/v1/models/m/versions/9223372036854775807", Route("status", "m", 2**63 - 1)),
        ("GET", "/v1/models/m/metadata", Route("metadata", "m")),
        ("GET", "/v1/models/m/labels/l/metadata", Route("metadata", "m", None, "l")),
        # The word matches in any case, but is compared in its own.
        ("GET", "/v1/models/m/METADATA", Route("status", "m")),
        ("GET", "/v1/models/metadata", Route("status", "metadata")),
    ],
)
def test_paths_name_a_model_and_a_question(method, path, expected):
    assert route(method, path) == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/m:PREDICT"),
        ("POST", "/v1/models/m:predict/"),
        ("POST", "/v1/models/m:predict?a=1"),
        ("POST", "/v1/models/m/versions/:predict"),
        ("POST", "/v1/models/m/versions/-1:predict"),
        ("POST", "/v1/models/m/versions/1/labels/l:predict"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/m:predict"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/modelsm"),
        ("GET", "/v1/"),
        ("PUT", "/v1/models/m:predict"),
        ("HEAD", "/v1/models/m"),
    ],
)
def test_other_paths_are_malformed(method, path):
    with pytest.raises(StatusError, match="Malformed request") as refusal:
        route(method, path)
    assert str(refusal.value) == f"INVALID_ARGUMENT: Malformed request: {method} {path}"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/versions/1"])
def test_there_is_no_list_of_models(path):
    with pytest.raises(StatusError, match="Missing model name in request"):
        route("GET", path)


@pytest.mark.parametrize("version", ["9223372036854775808", "9" * 5000])
def test_versions_fit_into_64_bits(version):
    with pytest.raises(VersionTooLargeError, match="to numeric"):
        route("GET", f"/v1/models/m/versions/{version}")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/models/a%20b:predict", "/v1/models/a%20b:predict"),
        ("/a?b/?c#d?", "/a?b/?c#d?"),
        ("http://user@host:80/v1/models", "/v1/models"),
        ("//host/v1/models", "/v1/models"),
        ("*", "*"),
        ("/a b", None),
        ("/%zz", None),
        ("/%f", None),
        ("/é", None),
        ("/a[1]", None),
        ('/"', None),
    ],
)
def test_targets_are_read_to_the_letter_of_rfc_3986(target, path):
    assert path_of(target) == path


@pytest.mark.parametrize(
    ("path", "expected"), [("/v1/models", True), ("/V1/", True), ("/v1", False), ("/", False), ("/v2/models/m", False)]
)
def test_all_below_v1_is_the_interface(path, expected):
    assert is_api(path) is expected
