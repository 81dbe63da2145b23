"""`vaclip data describe` as a person calls it."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console

from conftest import read_rows, write_rows
from vaclip.audit.describe import describe
from vaclip.commands import main as cli
from vaclip.commands.describe import description_tables
from vaclip.compose import compose_settings
from vaclip.errors import VaclipError
from vaclip.evaluation.data_card import ExcludedClip
from vaclip.runs.prepare import open_study, prepare_study

SMALL = ("debug=smoke",)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VACLIP_CACHE", str(tmp_path / "cache"))


def shown(card) -> str:
    console = Console(width=400, file=io.StringIO())
    with console.capture() as captured:
        for table in description_tables(card):
            console.print(table)
    return captured.get()


def test_everything_is_shown(tiny_study):
    text = shown(describe(tiny_study(2, clips_per_patient=2), SMALL, workers=1))
    rows = [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]
    for row in ("steady 2 4", "all 6 12", "ann 12", "bob 6", "distinct maps 6",
                "clips without a map 0 (0%)",
                "annotators blinded to the diagnosis unknown", "excluded clips 0",
                "length 2.0 to 2.0 s, median 2.0 s"):  # fmt: skip
        assert row in rows
    assert any(row.startswith("ann and bob 6 0.000 0.000") for row in rows)
    assert any(row.startswith("error split class 'limping' has only 2 patient(s)") for row in rows)


def test_names_of_others_are_no_markup(tiny_study):
    root = tiny_study(1)
    rows = read_rows(root / "attention.csv")
    write_rows(root / "attention.csv", [row | {"annotator": "[red]eva[/]"} for row in rows])
    assert "[red]eva[/]" in shown(describe(root, SMALL, workers=1))


def test_three_annotators_have_fleiss_kappa(tiny_study):
    root = tiny_study(1)
    rows = [row for row in read_rows(root / "attention.csv") if row["annotator"] == "ann"]
    everyone = [row | {"annotator": name} for row in rows for name in ("ann", "bob", "eva")]
    write_rows(root / "attention.csv", everyone)
    assert "all (Fleiss' kappa)" in shown(describe(root, SMALL, workers=1))


def test_excluded_clips_are_counted_by_reason(tiny_study):
    card = describe(tiny_study(1), SMALL, workers=1)
    reasons = ["too dark", "no sound", "too dark"]
    excluded = tuple(ExcludedClip(str(n), why) for n, why in enumerate(reasons))
    text = shown(dataclasses.replace(card, excluded=excluded))
    assert [line.split()[-2] for line in text.splitlines() if "too dark" in line] == ["2"]


def test_the_command_writes_what_it_shows_as_json(tiny_study, tmp_path, capsys):
    root = tiny_study(1)
    file = tmp_path / "card.json"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["data", "describe", "--json", str(file), str(root), *SMALL])
    assert stopped.value.code == 0
    card = json.loads(file.read_text())
    assert card["clips"] == 3
    assert card["findings"][0]["severity"] == "error"
    assert "What will mislead" in capsys.readouterr().out


def test_the_clips_are_those_that_training_finds(tiny_study, tmp_path, monkeypatch):
    root = tiny_study(1).rename(tmp_path / "a study, (mine) = 'new'")  # Hydra would read this
    describe(root, SMALL, workers=1)
    monkeypatch.setattr("vaclip.data.cache.decode_spans", None)
    data = compose_settings(SMALL, root=root).data
    prepared = prepare_study(data, open_study(data), workers=1)  # nothing is decoded again
    assert len(prepared.items) == 3


@pytest.mark.parametrize(
    ("word", "message"),
    [("data.fsp=4", "unknown setting 'data.fsp'"), ("data.fps=0", "data.fps is 0")],
)
def test_a_wrong_setting_is_explained(tiny_study, word, message):
    with pytest.raises(VaclipError, match=message):
        describe(tiny_study(1), (*SMALL, word), workers=1)


def test_no_study_folder_is_explained(tmp_path):
    with pytest.raises(VaclipError, match="is this a study folder"):
        describe(tmp_path, SMALL)
