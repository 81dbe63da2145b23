"""The data card of a study whose every number is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from annotation_files import write_shapes
from composed import make_config
from conftest import CLASSES, FPS, FRAMES, read_rows, write_rows
from vaclip.audit.data_card import data_card
from vaclip.config import Config
from vaclip.evaluation.data_card import DataCard
from vaclip.files import write_json
from vaclip.keys import Blinding
from vaclip.maps.shapes import Key, Shapes, Track
from vaclip.runs.prepare import describe_study, open_study, prepare_study


def settings_for(root: Path, home: Path, *overrides: str) -> Config:
    own = ("data=folder", f"data.root={root}", f"data.cache_dir={home / 'cache'}")
    return make_config(home / "runs", *own, *overrides)


def card_of(config: Config) -> DataCard:
    prepared = prepare_study(config.data, open_study(config.data), workers=1)
    return data_card(config.data, prepared, workers=1)


def test_everything_is_counted(tiny_study, tmp_path):
    # `ann` annotates every clip with the joints of its class, `bob` every second patient.
    config = settings_for(tiny_study(2, clips_per_patient=2), tmp_path)
    prepared = prepare_study(config.data, open_study(config.data), workers=1)
    card = data_card(config.data, prepared, workers=1).to_json()
    (agreement,) = card.pop("agreement")
    del card["findings"], card["shortcuts"]  # see test_findings.py
    assert card.pop("joint_agreement")["clips"] == 6
    assert card == {
        "name": "tiny",
        "classes": CLASSES,
        "patients": 6,
        "clips": 12,
        "per_class": tuple({"class": name, "patients": 2, "clips": 4} for name in CLASSES),
        "annotators": ({"annotator": "ann", "clips": 12}, {"annotator": "bob", "clips": 6}),
        "distinct_maps": 6,
        "clips_without_map": 0,
        "clip_seconds": dict.fromkeys(("min", "median", "max"), FRAMES / FPS),
        "excluded": (),
        "samples_under_map": 1.0,
        "blinding": {"blinded": None, "saw": (), "when": "unknown"},
        "readers": (),
        "content_hash": describe_study(prepared)["content_hash"],
    }
    assert {name: agreement[name] for name in ("first", "second", "clips")} == {
        "first": "ann",
        "second": "bob",
        "clips": 6,
    }
    assert agreement["exact"] == 0
    assert agreement["kappa"] == 0  # they never use the same words
    assert -1 < agreement["cc_mean"] < 1
    assert agreement["cc_sd"] > 0
    assert 0 <= agreement["sim_mean"] < 1
    assert agreement["sim_sd"] > 0


def test_what_the_annotators_knew_is_taken_over(tiny_study, tmp_path):
    root = tiny_study(1)
    with (root / "study.yaml").open("a") as file:
        file.write("annotation: {blinded: false, saw: [history], when: after}\n")
    card = card_of(settings_for(root, tmp_path))
    assert card.blinding == Blinding(False, ("history",), "after")


def test_it_is_the_same_twice_and_json(tiny_study, tmp_path):
    config = settings_for(tiny_study(2), tmp_path)
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        write_json(file, card_of(config).to_json())
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_is_undefined_is_null(tiny_study, tmp_path):
    root = tiny_study(1)
    rows = (root / "attention.csv").read_text().splitlines()
    by_ann = [row for row in rows if ",ann," in row]
    by_bob = by_ann[0].replace(",ann,", ",bob,")
    (root / "attention.csv").write_text("\n".join([rows[0], *by_ann, by_bob]) + "\n")
    write_json(tmp_path / "card.json", card_of(settings_for(root, tmp_path)).to_json())
    (agreement,) = json.loads((tmp_path / "card.json").read_text())["agreement"]
    for mean in ("cc_mean", "sim_mean"):
        assert agreement.pop(mean) == pytest.approx(1)
    assert agreement == {
        "first": "ann",
        "second": "bob",
        "clips": 1,
        "exact": 1,
        "kappa": None,  # both always say the same one thing
        "cc_sd": None,  # of one clip
        "sim_sd": None,
        "cc_chance": None,  # of one patient
        "sim_chance": None,
    }


def test_maps_are_counted_as_the_settings_make_them(tiny_study, tmp_path):
    config = settings_for(tiny_study(2), tmp_path, "data.annotators=[bob]")
    card = card_of(config)
    assert card.clips_without_map == 3
    assert card.distinct_maps == 2  # trunk and ground
    assert [one.annotator for one in card.annotators] == ["ann", "bob"]
    everyone = dataclasses.replace(config.data, annotators=None)
    assert card_of(dataclasses.replace(config, data=everyone)).content_hash != card.content_hash


def test_the_share_of_samples_under_a_map(tiny_study, tmp_path):
    """Of clips of 20 frames, one drawn on for a quarter of its length."""
    root = tiny_study(1)
    keys = (Key(5, ((4, 4), (20, 20))), Key(10, outside=True))
    write_shapes(root / "s.json", Shapes((32, 32), (Track("lv", "box", keys),), frames=FRAMES))
    rows = read_rows(root / "attention.csv")
    clip_id = rows[0]["clip_id"]
    drawn = {"clip_id": clip_id, "annotator": "ann", "kind": "shapes", "value": "s.json"}
    write_rows(root / "attention.csv", [drawn] + [r for r in rows if r["clip_id"] != clip_id])
    card = card_of(settings_for(root, tmp_path))
    assert card.samples_under_map == pytest.approx((0.25 + 1 + 1) / 3)
    (finding,) = [finding for finding in card.findings if finding.subject == "maps"]
    assert finding.clips == (clip_id,)
    assert "show on 25% of the clip" in finding.what
