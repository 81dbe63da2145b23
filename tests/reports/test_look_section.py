"""The report's section on where models look."""

from __future__ import annotations

import shutil
from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from study_folder import judged, write_study
from vaclip import keys
from vaclip.evaluation.labels import LOOK_MAPS, LOOK_MEASURES
from vaclip.evaluation.look import judge_looks
from vaclip.files import write_json
from vaclip.reports.drawing import draw_figures
from vaclip.reports.gather import read_folder
from vaclip.reports.look import LOOK_FIGURES, look_tables
from vaclip.reports.page import write_report
from vaclip.reports.typeset import NONE, interval_text, markdown, number

FAST = {"n_resamples": 20, "n_permutations": 49}
OWN = ("predicted", "gradcam")


def add_looks(folder, annotators=True):
    """Writes the files of a look audit into a study folder."""
    random = np.random.default_rng(0)
    clips = pd.read_parquet(folder / keys.PREDICTIONS_FILE)
    clips = clips[clips["split"] == "test"].drop_duplicates(["arm", "fold", "seed", "clip_id"])
    clips = clips[clips["arm"].isin(["B0", "P2"])]
    ends = {"prior": 0.2, "annotators": 0.8, "predicted": 0.6}
    rows = []
    for clip in clips.itertuples():
        fixed = (clip.arm, clip.fold, clip.seed, clip.patient_id, clip.clip_id, 0)
        own = [name for name in OWN if clip.arm == "P2" or name != "predicted"]
        beside = [*keys.LOOK_FLOORS, *([keys.LOOK_CEILING] if annotators else [])]
        for which, name in product((*own, *beside), keys.LOOK_AGREEMENT):
            rows.append((*fixed, which, name, ends.get(which, 0.4) + random.normal(0, 0.05)))
        for which, name in product((*own, keys.LOOK_CLINICIANS), keys.LOOK_REMOVAL):
            rows.append((*fixed, which, name, random.normal(0.1, 0.05)))
        for which in own:
            rows.append((*fixed, which, keys.LOOK_RANDOMISED, random.normal(0, 0.1)))
    pd.DataFrame(rows, columns=list(keys.LOOK_COLUMNS)).to_csv(folder / keys.LOOK_FILE, index=False)
    (folder / "look").mkdir(exist_ok=True)
    pictures = {"frames": (4, 32, 32, 3), "map": (4, 32, 32), "look": (4, 32, 32)}
    arrays = {
        name: random.integers(0, 256, size).astype(np.uint8) for name, size in pictures.items()
    }
    np.savez_compressed(folder / "look/case_0.npz", **arrays)
    case = {"clip_id": "anna_03-1", "patient_id": "anna_03", "label": "hip", "segment": 0,
            "cc": -0.12, "file": "look/case_0.npz"}  # fmt: skip
    about = {"arm": "P2", "fold": 0, "seed": 0, "map": "predicted"}
    write_json(folder / keys.LOOK_CASES_FILE, {**about, "cases": [case]})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    arms = ("B0", "B3", "P1", "P2")
    return add_looks(write_study(tmp_path_factory.mktemp("study"), arms=arms, variants=False))


@pytest.fixture(scope="module")
def source(folder):
    return read_folder(folder)


@pytest.fixture(scope="module")
def looks(source):
    return judge_looks(source.look)


def test_tables_are_whole_and_name_nobody(looks):
    tables = look_tables(looks)
    assert list(tables) == ["look", "look_removal", "look_relative"]
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows), table.name
        assert len({row[:2] for row in table.rows}) == len(table.rows)
    text = markdown(list(tables.values()))
    assert "nan" not in text
    assert "anna" not in text


def test_cells_are_what_evaluation_found(looks):
    tables = look_tables(looks)
    rows = {row[:2]: row[2:] for row in tables["look"].rows}
    beside = [key for key in rows if key[0] == "any arm"]
    assert beside == [("any arm", LOOK_MAPS[name]) for name in ("prior", "centre", "other",
                                                                 "annotators")]  # fmt: skip
    found = looks.scores["P2"]["predicted"]["kl"]
    place = list(LOOK_MEASURES).index("kl")
    shown = f"{number(found.value)}\n{interval_text(found.interval)}"
    assert rows["P2", "predicted map"][place] == shown
    assert ("P2", LOOK_MAPS[keys.LOOK_CLINICIANS]) not in rows
    relative = {row[:2]: row[2:] for row in tables["look_relative"].rows}
    assert relative["P2", "predicted map"][0].startswith(
        number(looks.scores["P2"]["predicted"]["cc"].relative)
    )
    removed = {row[:2]: row[2:] for row in tables["look_removal"].rows}
    assert removed["B0", LOOK_MAPS[keys.LOOK_CLINICIANS]][2] == NONE  # no map of the model
    assert removed["B0", "Grad-CAM"][0].startswith("+")


def test_without_annotators_there_is_no_ceiling(folder, tmp_path):
    other = add_looks(shutil.copytree(folder, tmp_path / "other"), annotators=False)
    tables = look_tables(judge_looks(read_folder(other).look))
    assert list(tables) == ["look", "look_removal"]
    assert "annotator against" not in markdown(list(tables.values()))


def test_the_figure_is_drawn(source, tmp_path):
    drawn = draw_figures(source, judged(source, look=source.look, **FAST), tmp_path, LOOK_FIGURES)
    assert set(drawn) == {"look"}
    with Image.open(tmp_path / "look.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 0
    assert draw_figures(source, judged(source, **FAST), tmp_path, LOOK_FIGURES) == {}


def test_the_page_has_the_section_and_the_verdict_the_gain(folder, looks):
    page = write_report(folder, **FAST)
    text = page.read_text("utf-8")
    for name in ("look", "look_relative", "look_removal"):
        assert f'id="table-{name}"' in text
    assert "Where model and clinicians look most apart" in text
    assert f"correlation {number(-0.12, 2)}" in text
    assert "anna" not in text
    gain = looks.gain("P2")
    assert f"information gain {gain.value:+.2f} bits" in text
    assert "shuffled AUC" in (page.parent / "tables.md").read_text("utf-8")


def test_real_ids_are_shown_on_request(folder, tmp_path):
    text = write_report(folder, tmp_path / "named", real_ids=True, **FAST).read_text("utf-8")
    assert "anna_03-1" in text


def test_a_study_without_the_audit_says_so(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / keys.LOOK_FILE).unlink()
    (bare / keys.LOOK_CASES_FILE).unlink()
    text = write_report(bare, tmp_path / "out", **FAST).read_text("utf-8")
    assert "Where models look: not recorded." in text
    assert "information gain" not in text
