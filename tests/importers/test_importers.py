"""What every kind of import must do; each one's case is in ``case_KIND.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import FIXTURES, all_cases
from PIL import Image

from vaclip.audit.check import check
from vaclip.audit.preview import overlaid_clip
from vaclip.commands.main import main
from vaclip.importers import IMPORTERS
from vaclip.study.load import load_study

CASES = all_cases()
DOCS = Path(__file__).parents[2] / "docs" / "import"


def run(words, capsys, status=0):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    out, err = capsys.readouterr()
    assert (stopped.value.code or 0) == status, err
    return out + err


def content_of(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_every_kind_has_a_case_and_a_page():
    assert set(CASES) == set(IMPORTERS.builtin), "add case_KIND.py, and its folder in fixtures/"
    assert {path.stem for path in DOCS.glob("*.md")} >= set(IMPORTERS.builtin), (
        "add docs/import/KIND.md"
    )


def test_every_page_goes_from_the_export_to_training():
    for kind in IMPORTERS.builtin:
        page = (DOCS / f"{kind}.md").read_text("utf-8")
        assert page.startswith("# "), kind
        assert re.search(r"^## Export", page, re.M), f"{kind}: begin with the export in the tool"
        assert f"vaclip data import {kind} " in page, kind
        assert page.rfind("vaclip train") > page.find(f"vaclip data import {kind} "), kind


def test_the_help_lists_every_kind(capsys):
    said = " ".join(run(["data", "import", "--help"], capsys).split())
    for kind in IMPORTERS.builtin:
        assert f"{kind} {IMPORTERS.load(kind).summary}" in said


def test_an_unknown_kind_is_explained(capsys):
    said = run(["data", "import", "sleep", "x.csv", "--into", "study"], capsys, status=1)
    assert "the kind of export is 'sleep'; use one of " in said
    assert "Did you mean 'sleap'?" in said


def test_one_kind_is_imported_without_the_others():
    code = (
        "import sys; from vaclip.commands.imports import import_parser; import_parser(['regions']);"
        "print([name for name in ('tables.regions', 'drawings.cvat', 'poses.sleap')"
        " if f'vaclip.importers.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['tables.regions']"


@pytest.mark.parametrize("kind", CASES)
class TestContract:
    @pytest.fixture
    def case(self, kind):
        return CASES[kind]

    @pytest.fixture
    def folder(self, case, tmp_path):
        return case.copy_to(tmp_path / "export")

    @pytest.fixture
    def imported(self, case, folder, tmp_path, capsys):
        for words in case.commands(folder, tmp_path / "study"):
            run(words, capsys)
        return tmp_path / "study"

    def test_gives_a_study_without_an_error(self, case, imported):
        found = check(imported, workers=1)
        problems, clips = found.found, len(found.study.clips)
        assert [str(problem) for problem in problems if problem.severity == "error"] == []
        assert clips > 0
        assert set(load_study(imported).classes) == set(case.classes)

    def test_a_dry_run_tells_and_writes_nothing(self, case, folder, tmp_path, capsys):
        said = run([*case.words(folder, tmp_path / "study"), "--dry-run"], capsys)
        assert "Would add" in said
        assert re.search(r"^  \d+ ", said, re.M)
        assert not (tmp_path / "study").exists()

    def test_again_adds_nothing(self, case, folder, imported, capsys):
        before = content_of(imported)
        said = run(case.words(folder, imported), capsys)
        assert not re.search(
            r"^  \d+ (annotations of kind|clips with keypoints|videos|regions)", said, re.M
        )
        assert content_of(imported) == before

    def test_the_export_is_left_alone(self, case, folder, tmp_path, capsys):
        before = content_of(folder)
        run(case.words(folder, tmp_path / "study"), capsys)
        assert content_of(folder) == before

    def test_what_belongs_to_no_clip_is_refused_or_listed(self, case, folder, tmp_path, capsys):
        old, new = case.renamed
        if not old:
            pytest.skip("this kind brings its own clips")
        changed = 0
        for source in case.sources:
            path = folder / source
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                if file.is_file() and old.encode() in file.read_bytes():
                    file.write_bytes(file.read_bytes().replace(old.encode(), new.encode()))
                    changed += 1
                elif file.is_file() and old in file.name:
                    file.rename(file.with_name(file.name.replace(old, new)))
                    changed += 1
            if old in path.name:
                path.rename(path.with_name(path.name.replace(old, new)))
        assert changed
        words = [word.replace(old, new) for word in case.words(folder, tmp_path / "study")]
        said = run(words, capsys, status=1)
        assert "belong to no clip" in said
        assert not (tmp_path / "study").exists()
        said = run([*words, "--skip-unmatched"], capsys)
        assert "Belonging to no clip" in said
        assert Path(new).stem in said

    def test_maps_lie_where_the_golden_picture_shows_them(self, case, imported):
        if case.golden is None:
            pytest.skip("this kind gives no map by itself")
        clip_id, annotator, sample = case.golden
        study = load_study(imported)
        clip = next(clip for clip in study.clips if clip.clip_id == clip_id)
        panels, annotated, _ = overlaid_clip(study, clip, [annotator], fps=10.0)
        assert annotated == [True]
        golden = np.asarray(Image.open(FIXTURES / case.kind / "golden.png").convert("RGB"))
        drawn = panels[0, sample]
        assert drawn.shape == golden.shape
        # Scalers differ by a level or two between builds of FFmpeg; a map that is elsewhere by
        # one pixel of the video differs by tens of levels along its whole edge.
        difference = np.abs(drawn.astype(int) - golden.astype(int))
        assert difference.mean() < 1.0
        assert np.percentile(difference, 99) < 12

    def test_patients_and_paths_stay_out_of_the_log(self, case, folder, tmp_path, capsys, caplog):
        with caplog.at_level("INFO"):
            run(case.words(folder, tmp_path / "study"), capsys)
        assert caplog.text == ""
