"""Draws the golden picture of a kind anew: look at it before it is kept.

PYTHONPATH=tests python tests/importers/draw_golden.py KIND
"""

import sys
import tempfile
from pathlib import Path

from cases import FIXTURES, all_cases
from PIL import Image

from vaclip.audit.preview import overlaid_clip
from vaclip.commands.main import main
from vaclip.study.load import load_study


def draw(kind: str) -> None:
    case = all_cases()[kind]
    assert case.golden, f"{kind} gives no map by itself"
    with tempfile.TemporaryDirectory() as temporary:
        folder = case.copy_to(Path(temporary) / "export")
        for words in case.commands(folder, Path(temporary) / "study"):
            try:
                main(words)
            except SystemExit as stopped:
                if stopped.code:
                    raise
        study = load_study(Path(temporary) / "study")
        clip_id, annotator, sample = case.golden
        clip = next(clip for clip in study.clips if clip.clip_id == clip_id)
        panels, _, _ = overlaid_clip(study, clip, [annotator], fps=10.0)
        Image.fromarray(panels[0, sample]).save(FIXTURES / kind / "golden.png")


if __name__ == "__main__":
    draw(sys.argv[1])
