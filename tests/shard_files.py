"""Clips with tokens and maps of few numbers, and the shards of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaclip.data.cache import CachedClip, CachedTokens
from vaclip.data.datamodule import clip_items
from vaclip.data.items import ClipItem
from vaclip.data.shards import ShardFacts, Shards, open_shards
from vaclip.data.write_shards import write_shards
from vaclip.study.study import Clip, Study

CLASSES = ("b", "a")
GRID, SIZE, STEP = (1, 2, 3), (4, 4), 2
FACTS = ShardFacts(
    "drawn", list(CLASSES), ["ann"], {"data.fps": 8.0}, {"source": "means"}, STEP, [*GRID],
    [1, *SIZE], [], "", "",
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A study and its clips, each in files of its own."""

    study: Study
    items: list[ClipItem]

    def shards(self, folder: Path, shard_bytes: int = 1000) -> Shards:
        write_shards(str(folder), self.items, FACTS, shard_bytes=shard_bytes)
        return open_shards(str(folder), folder.parent / "fetched")


def draw_study(root: Path, patients: int = 9, most_clips: int = 3, seed: int = 0) -> Drawn:
    """Draws patients with 1 to ``most_clips`` clips of 3 to 9 samples, some without a map."""
    rng = np.random.default_rng(seed)
    clips, cached, identities = [], [], {}
    for patient in rng.permutation(patients):
        for take in range(rng.integers(1, most_clips + 1)):
            extra = {"session": f"s{take % 2}", "site": f"site {patient % 2}"}
            clip = Clip(f"clip {patient}/{take}.ü", Path("v.mp4"), f"p{patient}",
                        CLASSES[patient % 2], extra=extra)  # fmt: skip
            place = root / f"{len(clips):03}"
            place.mkdir(parents=True)
            samples = int(rng.integers(3, 10))
            steps = -(-samples // STEP)
            np.save(place / "tokens.npy", rng.normal(size=(steps, *GRID)).astype(np.float16))
            mapped = rng.random() < 0.8
            if mapped:
                np.save(place / "map.npy", rng.integers(0, 256, (1, samples, *SIZE), np.uint8))
                identities[clip.clip_id] = ("drawn", take)
            np.save(place / "frames.npy", np.zeros((samples, *SIZE, 3), np.uint8))
            tokens = CachedTokens(place / "tokens.npy", steps, STEP)
            attn = place / "map.npy" if mapped else None
            clips.append(clip)
            cached.append(CachedClip(clip, place / "frames.npy", samples, attn, tokens))
    study = Study(root, "drawn", CLASSES, {}, (), tuple(clips), {})
    return Drawn(study, clip_items(study, cached, identities))
