"""The server keeps to its own /openapi.json, whatever is sent: asked by Schemathesis."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
import schemathesis
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from exported_folder import coloured, write_exported
from serving import served


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(write_exported(tmp_path_factory.mktemp("exported") / "model")) as server:
        yield server


@pytest.fixture(scope="module")
def described(server):
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")


def _ask(operation, mode, change=lambda case: None, examples=80, **how):
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        change(case)
        case.call_and_validate(timeout=30, **how)

    ask()


@pytest.mark.parametrize("path", ["/health", "/model"])
def test_what_asks_for_nothing_is_answered(described, path):
    _ask(described[path]["GET"], GenerationMode.POSITIVE)


@pytest.mark.parametrize("mode", GenerationMode)
def test_other_bytes_are_refused_as_is_described(described, mode):
    # A body of any bytes keeps to the schema, and is no video.
    _ask(described["/predict"]["POST"], mode, excluded_checks=[positive_data_acceptance])


def test_a_video_is_taken_with_whatever_is_asked_for(described, tmp_path):
    video = coloured(tmp_path / "a.mkv", (9, 200, 9))

    def change(case):
        case.body = video

    _ask(described["/predict"]["POST"], GenerationMode.POSITIVE, change, examples=20)


def test_what_is_described_is_what_there_is(server):
    paths = server.ask("/openapi.json")[2]["paths"]
    assert sorted(paths) == ["/health", "/model", "/predict"]


@pytest.mark.parametrize("query", ["", "?map=true", "?pictures=true", "?map=true&pictures=true"])
def test_what_is_said_of_a_video_is_described(server, described, tmp_path, query):
    import jsonschema_rs

    said = server.ask(f"/predict{query}", body=coloured(tmp_path / "a.mkv", (9, 200, 9)))[2]
    spec = server.ask("/openapi.json")[2]
    answer = {"$ref": "#/components/schemas/Answer", "components": spec["components"]}
    jsonschema_rs.validate(answer, said)
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(answer, said | {"probabilities": {"red": 2}})
