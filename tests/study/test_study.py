from __future__ import annotations

import re
import shutil

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLASSES, read_rows, write_rows, write_tiny_study
from vaclip.errors import VaclipError
from vaclip.keys import Blinding
from vaclip.maps.source import Annotation, Region
from vaclip.study.load import load_study, read_study


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("template") / "study", patients_per_class=1)


@pytest.fixture
def root(template, tmp_path):
    """A fresh valid study of three clips."""
    return shutil.copytree(template, tmp_path / "study")


def edit_row(root, table, row, **cells):
    """Changes cells of a row; row 2 is the first under the header."""
    rows = read_rows(root / table)
    rows[row - 2].update(cells)
    write_rows(root / table, rows)


def add_column(root, name, *values):
    rows = read_rows(root / "clips.csv")
    for row, value in zip(rows, (*values, "", "", ""), strict=False):
        row[name] = value
    write_rows(root / "clips.csv", rows)


def edit_head(root, **entries):
    head = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump({**head, **entries}))


def messages(root, severity="error"):
    return [f"{p.where}: {p.what}" for p in read_study(root)[1] if p.severity == severity]


def only(root, severity="error"):
    """Returns the one problem of a study."""
    study_problems = read_study(root)[1]
    assert [problem.severity for problem in study_problems] == [severity]
    if severity == "error":
        with pytest.raises(VaclipError, match="has 1 error"):
            load_study(root)
    else:
        load_study(root)
    return messages(root, severity)[0]


# --- a valid study -------------------------------------------------------------------------------


def test_valid_study_loads(root):
    study, problems = read_study(root)
    assert problems == []
    assert study == load_study(root)
    assert (study.name, study.classes) == ("tiny", CLASSES)
    assert study.annotators == ("ann", "bob")
    assert study.patients == ("limping-0", "shuffling-0", "steady-0")
    assert study.regions["knees"] == Region(keypoints=("left_knee", "right_knee"))
    assert study.regions["trunk"] == Region(box=(0.25, 0.25, 0.75, 0.625))
    assert [clip.clip_id for clip in study.clips] == ["steady-0-0", "limping-0-0", "shuffling-0-0"]
    first = study.clips[0]
    assert first.video.samefile(root / "videos/steady-0-0.mkv")
    assert first.keypoints.samefile(root / "keypoints/steady-0-0.npz")
    assert (first.patient_id, first.label, first.where) == ("steady-0", "steady", "clips.csv:2")
    assert (first.start_s, first.end_s) == (0.0, None)
    assert study.annotations["steady-0-0"] == (
        Annotation("ann", "region", "hips"),
        Annotation("bob", "region", "trunk"),
    )


def test_times_and_further_columns(root):
    add_column(root, "start_s", "0.5")
    add_column(root, "end_s", "1.25")
    add_column(root, "site", "Kyoto, main")
    study = load_study(root)
    assert (study.clips[0].start_s, study.clips[0].end_s) == (0.5, 1.25)
    assert (study.clips[1].start_s, study.clips[1].end_s) == (0.0, None)
    assert study.clips[0].extra["site"] == "Kyoto, main"
    assert study.clips[0].extra["frames"] == "20"


def test_byte_order_annotation_blank_lines_and_spaces(root):
    for name in ("study.yaml", "clips.csv", "attention.csv"):
        text = (root / name).read_text().replace(",steady,", " , steady ,").replace("\r\n", "\n\n")
        (root / name).write_text(text, encoding="utf-8-sig")
    assert load_study(root).clips[0].label == "steady"


def test_column_order_does_not_matter(root):
    rows = [dict(reversed(row.items())) for row in read_rows(root / "clips.csv")]
    write_rows(root / "clips.csv", rows)
    assert load_study(root).clips[1].label == "limping"


def test_name_defaults_to_the_folder(root):
    edit_head(root, name=None)
    assert load_study(root).name == "study"


def test_own_joint_names(root):
    edit_head(root, keypoint_names=["a", "b"], regions={"r": {"keypoints": ["b"]}})
    (root / "attention.csv").unlink()
    assert load_study(root).keypoint_names == ("a", "b")


# --- warnings ------------------------------------------------------------------------------------


def test_missing_attention_is_a_warning(root):
    (root / "attention.csv").unlink()
    assert only(root, "warning").startswith("attention.csv: there is none")
    assert load_study(root).annotations == {}


def test_patient_of_two_classes_is_a_warning(root):
    edit_row(root, "clips.csv", 3, patient_id="steady-0")
    assert only(root, "warning") == (
        "clips.csv: patient 'steady-0' has clips of 2 classes: limping, steady"
    )


def test_a_patient_of_two_classes_may_have_two_sessions(root):
    edit_row(root, "clips.csv", 3, patient_id="steady-0")
    rows = read_rows(root / "clips.csv")
    write_rows(root / "clips.csv", [{**row, "session": row["label"]} for row in rows])
    study, problems = read_study(root)
    assert problems == []
    assert study.clips[0].visit == (study.clips[0].patient_id, study.clips[0].label)
    write_rows(root / "clips.csv", [{**row, "session": "1"} for row in rows])
    assert "'steady-0' has clips of 2 classes in session '1'" in only(root, "warning")


def test_class_without_clip_is_a_warning(root):
    edit_head(root, classes=[*CLASSES, "spare"])
    assert "no clip has the label 'spare'" in only(root, "warning")


def test_unannotated_clip_is_a_warning(root):
    rows = [row for row in read_rows(root / "attention.csv") if row["clip_id"] != "limping-0-0"]
    write_rows(root / "attention.csv", rows)
    assert "1 clip(s) are annotated by nobody: limping-0-0" in only(root, "warning")


# --- study.yaml ----------------------------------------------------------------------------------


def test_missing_study_yaml(root):
    (root / "study.yaml").unlink()
    study, _ = read_study(root)
    assert study is None
    assert only(root).startswith("study.yaml: there is no such file")


def test_missing_folder(tmp_path):
    with pytest.raises(VaclipError, match=r"study\.yaml: there is no such file"):
        load_study(tmp_path / "gone")


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b", "3"])
def test_study_yaml_without_keys(root, text):
    (root / "study.yaml").write_text(text)
    assert "study.yaml: expected keys" in only(root)


@pytest.mark.parametrize("content", [b"classes: [a, b", b"\xff\xfe\x00bad", b"a: b: c"])
def test_study_yaml_that_is_no_yaml(root, content):
    (root / "study.yaml").write_bytes(content)
    assert "study.yaml: cannot be read as YAML" in only(root)


@pytest.mark.parametrize("classes", [None, [], ["one"], "steady", {"a": 1}])
def test_classes_must_be_a_list(root, classes):
    edit_head(root, classes=classes)
    assert only(root).startswith("study.yaml:classes: list at least two class names")


def test_class_listed_twice(root):
    edit_head(root, classes=[*CLASSES, "steady"])
    assert only(root).startswith("study.yaml:classes: a class is listed twice")


@pytest.mark.parametrize("name", [None, "", [1], {"a": 1}])
def test_classes_must_be_names(root, name):
    edit_head(root, classes=[*CLASSES, name])
    assert messages(root)[0].startswith("study.yaml:classes: a name is empty, null or none at all")


def test_blanks_around_a_class_do_not_count(root):
    """As in cells, which could never name it."""
    edit_head(root, classes=[f" {name} " for name in CLASSES])
    assert load_study(root).classes == CLASSES


def test_regions_of_two_spellings_are_a_warning(root):
    head = yaml.safe_load((root / "study.yaml").read_text())
    edit_head(root, regions=head["regions"] | {"Knees": {"keypoints": ["nose"]}})
    assert only(root, "warning") == (
        "study.yaml:regions: 'Knees' and 'knees' differ in spelling alone: is it one region?"
    )


@pytest.mark.parametrize(
    ("column", "severity", "told"),
    [
        ("Start_S", "error", "'Start_S' must be 'start_s'"),
        ("site\u200b", "error", r"'site\u200b' must be 'site'"),
        ("start", "warning", "the column is kept, and means nothing; 'start_s' would"),
        ("end", "warning", "the column is kept, and means nothing; 'end_s' would"),
        ("end_sec", "warning", "the column is kept, and means nothing; 'end_s' would"),
        ("sites", "warning", "the column is kept, and means nothing; 'site' would"),
    ],
)
def test_columns_whose_name_is_nearly_one_that_counts(root, column, severity, told):
    add_column(root, column, "0.5")
    assert only(root, severity) == f"clips.csv:1:{column}: {told}"


@pytest.mark.parametrize("column", ["side", "size", "age", "device", "video_id", "visit"])
def test_other_columns_are_ones_own(root, column):
    add_column(root, column, "0.5")
    assert read_study(root)[1] == []


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"keypoints": ["left_hp"]}, "unknown joint 'left_hp'. Did you mean 'left_hip'?"),
        ({"keypoints": []}, "'keypoints' must list at least one joint"),
        ({"keypoints": "nose"}, "'keypoints' must list at least one joint"),
        ({"box": [0, 0, 1]}, "'box' must be four numbers"),
        ({"box": [0, 0, 1, "1"]}, "'box' must be four numbers"),
        ({"box": [0, 0, 1, True]}, "'box' must be four numbers"),
        ({"box": 4}, "'box' must be four numbers"),
        ({"box": [0, 0, 32, 32]}, "is not inside the frame"),
        ({"box": [0.5, 0, 0.5, 1]}, "is not inside the frame"),
        ({"box": [0, 0.6, 1, 0.5]}, "is not inside the frame"),
        ({"box": [-0.1, 0, 1, 1]}, "is not inside the frame"),
        ({"box": [0, 0, 1, float("nan")]}, "is not inside the frame"),
        ({"box": [0, 0, 1, 1], "keypoints": ["nose"]}, "expected either"),
        ({}, "expected either"),
        ("nose", "expected either"),
        (None, "expected either"),
    ],
)
def test_bad_region(root, region, message):
    head = yaml.safe_load((root / "study.yaml").read_text())
    edit_head(root, regions={**head["regions"], "odd": region})
    what = only(root)
    assert what.startswith("study.yaml:regions.odd: ")
    assert message in what


@pytest.mark.parametrize(
    ("annotation", "blinding"),
    [
        (None, Blinding()),
        ({}, Blinding()),
        ({"blinded": "unknown"}, Blinding()),
        ({"blinded": True, "saw": ["history"], "when": "before"},
         Blinding(True, ("history",), "before")),
        ({"blinded": False, "saw": ["diagnosis"]}, Blinding(False, ("diagnosis",))),
        ({"when": "after"}, Blinding(when="after")),
    ],
)  # fmt: skip
def test_what_the_annotators_knew(root, annotation, blinding):
    edit_head(root, annotation=annotation)
    assert load_study(root).blinding == blinding


def test_of_a_study_that_does_not_say_it_is_unknown(root):
    assert load_study(root).blinding == Blinding(None, (), "unknown")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("blinded", "expected {blinded: "),
        ({"blind": True}, "there is no 'blind'; use blinded, saw, when. Did you mean 'blinded'?"),
        ({"blinded": "unkown"}, "'blinded' is unkown; it must be true, false or unknown"),
        ({"blinded": 1}, "'blinded' is 1; it must be true"),
        ({"blinded": None}, "'blinded' is None; it must be true"),
        ({"saw": "history"}, "'saw' is history; it must be a list"),
        ({"saw": [3]}, "'saw' is [3]; it must be a list"),
        ({"when": "later"}, "'when' is later; it must be before, after or unknown"),
        ({"when": ["after"]}, "'when' is ['after']; it must be before"),
        ({"blinded": True, "saw": ["diagnosis"]}, "'saw' lists the diagnosis"),
    ],
)
def test_a_wrong_word_about_the_annotators(root, annotation, message):
    edit_head(root, annotation=annotation)
    what = only(root)
    assert what.startswith("study.yaml:annotation: ")
    assert message in what


def test_regions_must_be_a_mapping(root):
    edit_head(root, regions=["hips"])
    assert messages(root)[0].startswith("study.yaml:regions: expected NAME")


# --- clips.csv -----------------------------------------------------------------------------------


def test_missing_clips(root):
    (root / "clips.csv").unlink()
    assert only(root).startswith("clips.csv: cannot be read as a UTF-8 CSV file")


@pytest.mark.parametrize("text", ["", "clip_id,video,patient_id,label\n"])
def test_empty_clips(root, text):
    (root / "clips.csv").write_text(text)
    assert only(root).startswith("clips.csv")


@pytest.mark.parametrize("column", ["clip_id", "video", "patient_id", "label"])
def test_missing_column(root, column):
    rows = [{k: v for k, v in row.items() if k != column} for row in read_rows(root / "clips.csv")]
    write_rows(root / "clips.csv", rows)
    assert only(root).startswith(f"clips.csv:1: the header lacks {column} ")


def test_a_path_of_another_system(root):
    edit_row(root, "clips.csv", 2, video="videos\\a.mkv")
    assert only(root).endswith("in the study folder: write / between folders, not \\")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("classses: [a, b]", "study.yaml:classses: there is no such key. Did you mean 'classes'?"),
        ("Regions: {}", "study.yaml:Regions: there is no such key. Did you mean 'regions'?"),
        ("classes: [a, b]", "study.yaml: line 17: the key 'classes' stands there twice"),
    ],
)
def test_a_key_that_is_misspelt_or_stands_twice(root, line, said):
    text = (root / "study.yaml").read_text()
    (root / "study.yaml").write_text(f"{text}{line}\n")
    assert re.sub(r"line \d+", "line 17", only(root)) == said


def test_a_note_of_ones_own_in_the_head_is_no_mistake(root):
    text = (root / "study.yaml").read_text()
    (root / "study.yaml").write_text(f"{text}contact: ward 7\nregion_notes: drawn by hand\n")
    assert messages(root) == []


def test_column_named_twice(root):
    text = (root / "clips.csv").read_text().replace("keypoints,frames", "keypoints,keypoints")
    (root / "clips.csv").write_text(text)
    assert only(root).startswith("clips.csv:1: the header names a column twice")


@pytest.mark.parametrize("column", ["clip_id", "video", "patient_id", "label"])
def test_empty_cell(root, column):
    (root / "attention.csv").unlink()
    edit_row(root, "clips.csv", 3, **{column: " "})
    assert messages(root) == [f"clips.csv:3:{column}: the cell is empty"]


def test_clip_id_twice(root):
    edit_row(root, "clips.csv", 4, clip_id="steady-0-0")
    (root / "attention.csv").unlink()
    assert messages(root) == ["clips.csv:4:clip_id: 'steady-0-0' is there already, in clips.csv:2"]


def test_unknown_label(root):
    edit_row(root, "clips.csv", 2, label="steddy")
    what = messages(root)[0]
    assert what.startswith("clips.csv:2:label: unknown label 'steddy' (classes of study.yaml: ")
    assert what.endswith("Did you mean 'steady'?")


@pytest.mark.parametrize("column", ["video", "keypoints"])
def test_missing_file(root, column):
    edit_row(root, "clips.csv", 3, **{column: "videos/gone.mkv"})
    assert only(root) == (
        f"clips.csv:3:{column}: there is no file 'videos/gone.mkv' in the study folder"
    )


@pytest.mark.parametrize("column", ["video", "keypoints"])
@pytest.mark.parametrize("how", ["dots", "absolute", "link", "linked folder"])
def test_path_that_leaves_the_folder(root, column, how):
    outside = root.parent / "outside"
    outside.mkdir()
    shutil.copy(root / "videos/steady-0-0.mkv", outside / "a.mkv")
    (root / "link.mkv").symlink_to(outside / "a.mkv")
    (root / "folder").symlink_to(outside)
    name = {
        "dots": "videos/../../outside/a.mkv",
        "absolute": str(outside / "a.mkv"),
        "link": "link.mkv",
        "linked folder": "folder/a.mkv",
    }[how]
    edit_row(root, "clips.csv", 2, **{column: name})
    assert only(root).startswith(f"clips.csv:2:{column}: '{name}' leaves the study folder")


def test_link_within_the_folder_is_fine(root):
    (root / "link.mkv").symlink_to(root / "videos/steady-0-0.mkv")
    edit_row(root, "clips.csv", 2, video="link.mkv")
    assert messages(root) == []


@pytest.mark.parametrize("cell", ["soon", "-1", "nan", "inf", "1,5", "0:30"])
@pytest.mark.parametrize("column", ["start_s", "end_s"])
def test_bad_time(root, column, cell):
    add_column(root, column, "", cell)
    said = f"clips.csv:3:{column}: '{cell}' is not a time in seconds from 0"
    assert only(root) == said + ": write the decimals after a point" * ("," in cell)


def test_end_before_start(root):
    add_column(root, "start_s", "1.5")
    add_column(root, "end_s", "1.5")
    assert only(root) == "clips.csv:2:end_s: 1.5 s is not after the start of the clip"


@pytest.mark.parametrize(("extra", "cells"), [(",1", 7), (None, 5)])
def test_wrong_number_of_cells(root, extra, cells):
    (root / "attention.csv").unlink()
    lines = (root / "clips.csv").read_text().splitlines()
    lines[2] = lines[2] + extra if extra else lines[2].rpartition(",")[0]
    (root / "clips.csv").write_text("\n".join(lines))
    (what,) = messages(root)
    assert what.startswith(f"clips.csv:3: {cells} cells under a header of 6; quote values")


@pytest.mark.parametrize("table", ["clips.csv", "attention.csv"])
@pytest.mark.parametrize("tail", [b"\xff\xfe,1\n", b'"never closed'])
def test_table_that_is_no_utf8_csv(root, table, tail):
    (root / table).write_bytes((root / table).read_bytes() + tail)
    assert any(
        what.startswith(f"{table}: cannot be read as a UTF-8 CSV") for what in messages(root)
    )


# --- attention.csv -------------------------------------------------------------------------------


def test_annotation_of_an_unknown_clip(root):
    edit_row(root, "attention.csv", 2, clip_id="steady-0-9")
    what = messages(root)[0]
    assert what.startswith("attention.csv:2:clip_id: clips.csv has no clip 'steady-0-9'.")
    assert what.endswith("Did you mean 'steady-0-0'?")


def test_unknown_region(root):
    edit_row(root, "attention.csv", 3, value="trunc")
    what = only(root)
    assert what.startswith("attention.csv:3:value: unknown region 'trunc' (regions of study.yaml:")
    assert what.endswith("Did you mean 'trunk'?")


def test_unknown_kind(root):
    edit_row(root, "attention.csv", 2, kind="regoin")
    what = only(root)
    assert what.startswith("attention.csv:2:kind: the kind of map is 'regoin'; use one of region, ")
    assert what.endswith("Did you mean 'region'?")


def test_joints_without_a_keypoint_file(root):
    edit_row(root, "clips.csv", 2, keypoints="")
    what = only(root)
    assert what.startswith("attention.csv:2:value: region 'hips' is drawn from joints, but")


def test_annotation_twice(root):
    rows = read_rows(root / "attention.csv")
    write_rows(root / "attention.csv", [rows[0], *rows])
    assert only(root) == "attention.csv:3: the row stands already in attention.csv:2"


@pytest.mark.parametrize(
    ("value", "message"),
    [("gone.npy", "there is no file"), ("../a.npy", "leaves the study folder")],
)
def test_bad_map_file(root, value, message):
    edit_row(root, "attention.csv", 2, kind="map", value=value)
    what = only(root)
    assert what.startswith("attention.csv:2:value: ")
    assert message in what


# --- all at once ---------------------------------------------------------------------------------


def test_all_problems_at_once(root):
    edit_row(root, "clips.csv", 2, label="steddy", video="gone.mkv")
    edit_row(root, "clips.csv", 4, keypoints="gone.npz")
    edit_row(root, "attention.csv", 5, value="trunc")
    found = messages(root)
    assert [what.split(": ")[0] for what in found] == [
        "clips.csv:2:label",
        "clips.csv:2:video",
        "clips.csv:4:keypoints",
        "attention.csv:5:value",
    ]
    with pytest.raises(VaclipError) as caught:
        load_study(root)
    assert all(what in str(caught.value) for what in found)


def test_long_list_is_cut(root):
    rows = read_rows(root / "attention.csv")
    write_rows(root / "attention.csv", [{**rows[0], "value": f"r{n}"} for n in range(50)])
    with pytest.raises(VaclipError, match=r"has 50 error(?s:.*)and 30 more"):
        load_study(root)


# --- nothing written by hand may raise anything else ---------------------------------------------

# Names longer than the file system takes stand below, with what is known to raise.
WORDS = "clip_id video patient_id label start_s end_s keypoints frames steady limping".split()
VALUES_AND_SIGNS = ["steady-0-0", "videos/steady-0-0.mkv", "..", "/", "1.5", "-1", "nan", " ", "'"]
LINES = ["clip_id,video,patient_id,label\n", "a,videos/steady-0-0.mkv,p,steady\n"]
PIECES = st.sampled_from([*WORDS, *VALUES_AND_SIGNS, *LINES, '"', ",", "\n", "\r\n"])
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
TABLES = st.lists(PIECES | TEXT, max_size=30).map("".join)


def survives(root):
    study, problems = read_study(root)
    assert study is not None or any(problem.severity == "error" for problem in problems)


@pytest.mark.parametrize("table", ["clips.csv", "attention.csv"])
def test_any_table_gives_problems_at_most(template, table):
    before = (template / table).read_bytes()

    @given(TABLES.map(str.encode) | st.binary(max_size=60))
    def check(content):
        (template / table).write_bytes(content)
        survives(template)

    try:
        check()
    finally:
        (template / table).write_bytes(before)


LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3)
)
REGIONS = st.dictionaries(
    TEXT, st.fixed_dictionaries({}, optional={"box": VALUES, "keypoints": VALUES}), max_size=3
)
HEADS = st.fixed_dictionaries(
    {},
    optional={
        "name": VALUES,
        "classes": VALUES | st.just(list(CLASSES)),
        "regions": VALUES | REGIONS,
        "keypoint_names": st.lists(VALUES, max_size=3),
    },
)


def test_any_study_yaml_gives_problems_at_most(template):
    before = (template / "study.yaml").read_bytes()

    @given(HEADS.map(lambda head: yaml.safe_dump(head).encode()) | TEXT.map(str.encode))
    def check(content):
        (template / "study.yaml").write_bytes(content)
        survives(template)

    try:
        check()
    finally:
        (template / "study.yaml").write_bytes(before)


YAML_ERRORS = ValueError, KeyError, AttributeError, RecursionError, TypeError, OverflowError


@pytest.mark.parametrize(
    "text",
    [
        "born: 2001-99-99",  # ValueError
        "n: 0x_",  # ValueError
        "n: !!int x",  # ValueError
        "n: !!bool x",  # KeyError
        "n: !!timestamp x",  # AttributeError
        "[" * 3000,  # RecursionError
        "classes: [a, b]\nkeypoint_names: 5",  # TypeError
        f"classes: [a, b]\nregions: {{r: {{box: [0, 0, 1, 1{'0' * 400}]}}}}",  # OverflowError
    ],
    ids=["date", "hex", "int", "bool", "timestamp", "depth", "keypoint_names", "box"],
)
def test_odd_yaml_is_a_problem(root, text):
    (root / "study.yaml").write_text(text)
    assert messages(root)


@pytest.mark.parametrize(
    "name", [pytest.param("a\0b.mkv", id="NUL"), pytest.param("x" * 300, id="long")]
)
@pytest.mark.parametrize("where", ["video", "keypoints", "map"])
def test_impossible_file_name_is_a_problem(root, where, name):
    if where == "map":
        edit_row(root, "attention.csv", 2, kind="map", value=name)
    else:
        edit_row(root, "clips.csv", 2, **{where: name})
    assert only(root)


@pytest.mark.parametrize("names", ["nose", ["nose", "nose"]])
def test_joint_names_must_be_a_list_without_repeats(root, names):
    edit_head(root, keypoint_names=names, regions={})
    (root / "attention.csv").unlink()
    assert messages(root)
