"""Label Studio: tasks of the pictures that clips were made of, one a task or several on pages."""

from __future__ import annotations

import json

import pytest
from drawings.test_import_cvat_images import run, study

from conftest import read_rows
from vaclip.maps.shapes import load_shapes

__all__ = ["study"]  # a fixture


def rectangle(x=10.0, label="foot", **more):
    value = {"x": x, "y": 0, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": 64, "original_height": 48}
    return {"type": "rectanglelabels", "value": value, **size, **more}


def task(image, *results, who="eve@x"):
    annotation = {"id": 1, "completed_by": {"email": who}, "result": list(results)}
    return {"id": 7, "data": {"image": image}, "annotations": [annotation]}


def imported(study, tasks, *flags, status=0):
    path = study.parent / "tasks.json"
    path.write_text(json.dumps(tasks))
    flags = ("--video-field", "image", *flags)
    run("data", "import", "label_studio", path, "--into", study, *flags, status=status)


def shapes_of(study):
    rows = read_rows(study / "attention.csv")
    return {(r["clip_id"], r["annotator"]): load_shapes(study / r["value"], "x") for r in rows}


def test_a_picture_a_task(study):
    local = "/data/local-files/?d=in/p1/walk/shot_"
    imported(
        study,
        [
            task(f"{local}12.png", rectangle(50)),
            task(f"{local}8.png", rectangle(10), rectangle(20, "hand")),
            task(f"{local}8.png", rectangle(30), who="ann@x"),
        ],
    )
    found = shapes_of(study)
    assert found.keys() == {("p1/walk", "eve@x"), ("p1/walk", "ann@x")}
    own = found["p1/walk", "eve@x"]
    assert (own.unit, own.frames, own.size) == ("frame", 5, (48, 64))
    places = [(one.label, one.keys[0].at, one.keys[0].points[0]) for one in own.tracks]
    assert places == [("foot", 4, (32, 0)), ("foot", 0, (6.4, 0)), ("hand", 0, (12.8, 0))]
    assert all(one.keys[1].at == one.keys[0].at + 1 for one in own.tracks)


def test_json_min_of_a_picture_a_task(study, capsys):
    value = rectangle(50)["value"] | {"original_width": 64, "original_height": 48}
    record = {"image": "p1/walk/shot_12.png", "box": [value], "annotator": 3, "annotation_id": 9}
    imported(study, [record])
    (track,) = shapes_of(study)["p1/walk", "user 3"].tracks
    assert [(key.at, key.outside) for key in track.keys] == [(4, False), (5, True)]
    assert (track.label, track.keys[0].points) == ("foot", ((32, 0), (48, 24)))
    assert "1 shapes of pictures are of JSON-MIN" in capsys.readouterr().out


def test_pages_of_a_task(study):
    pages = [f"s3://bucket/p2/walk/shot_{number}.png" for number in (9, 10)]
    results = [rectangle(10, item_index=1), rectangle(20)]
    imported(study, [task(pages, *results)], "--interpolate", "foot")
    (own,) = shapes_of(study).values()
    (track,) = own.tracks
    assert [(key.at, key.outside) for key in track.keys] == [(1, False), (2, False), (3, True)]


@pytest.mark.parametrize(
    ("image", "result", "said"),
    [
        (["p1/walk/shot_8.png", "other.png"], rectangle(), "not all of which are of clips"),
        ("p1/walk/shot_8.png", rectangle(item_index=1), "is on no page of the task"),
        ("p1/walk/shot_8.png", rectangle(item_index="x"), "is on no page of the task"),
    ],
)
def test_what_is_on_no_picture_is_refused(study, capsys, image, result, said):
    imported(study, [task(image, result)], status=1)
    assert said in capsys.readouterr().err


def test_a_name_of_several_clips_is_refused(study, capsys):
    imported(study, [task("shot_8.png", rectangle())], status=1)
    assert "no clip or video is named 'shot_8.png'" in capsys.readouterr().err
