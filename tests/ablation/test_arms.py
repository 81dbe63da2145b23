"""What the report says of each arm."""

from __future__ import annotations

from pathlib import Path

import pytest

from composed import make_config
from vaclip.ablation.arms import all_arms, arm_header, arm_switches, describe_arm

LOSS = {"B0": "CE", "B2": "CE", "B4": "CE + 1 CLIP + 0.1 token", "K_map_only": "CE"}


@pytest.mark.parametrize("arm", all_arms())
def test_every_arm_is_described(arm):
    entry = describe_arm(make_config(Path("runs"), f"experiment={arm}"))
    assert entry["arm"] == arm
    assert entry["loss"] == LOSS.get(arm, "CE + 1 CLIP")
    for field in ("method", "question", "notes"):
        assert entry[field]
        assert "\n" not in entry[field]
        assert "  " not in entry[field]


def test_a_header_that_goes_on_in_the_next_line_is_read_whole():
    header = arm_header("K_map_only")
    assert header["question"].endswith("B3 may have read the diagnosis off the map.")
    assert header["command"] == "vaclip train experiment=K_map_only"
    assert set(header) == {"method", "question", "command", "cost"}


def test_switches_are_what_the_file_sets():
    assert arm_switches("B0") == {
        "model.map_guided": False,
        "model.lambda_token": 0.0,
        "loss.clip_weight": 0.0,
    }
    assert arm_switches("K_shuffled")["data.control"] == "shuffled"
