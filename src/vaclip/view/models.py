"""The models of an arm, asked about single clips: where they look, and what they find near."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vaclip import keys
from vaclip.ablation.plan import folder_name
from vaclip.ablation.worker import job_folder
from vaclip.data.cache import clip_cache
from vaclip.data.predicted_maps import map_over_samples
from vaclip.evaluation.embeddings import Model
from vaclip.explain.audit import segment_inputs
from vaclip.explain.saliency import gradcam, why_no_place
from vaclip.reports.gather import Source
from vaclip.runs.folder import checkpoint_path, fold_folder
from vaclip.runs.predict import Predictor, clip_segments, load_predictor, model_annotators
from vaclip.study.study import Clip, Study

NEAREST: Final = 5


class Near(NamedTuple):
    """A clip that lies near another one in a model's embedding."""

    clip_id: str
    cosine: float


@dataclass(frozen=True)
class Nearby:
    """What lies near the video of a clip, the nearest first, among what its model was tested on.

    Attributes:
        videos: Other clips, by their videos.
        maps: All clips that have a map, by their maps.
    """

    videos: list[Near]
    maps: list[Near]


@dataclass(frozen=True)
class Looks:
    """Where a model looked at a clip.

    Attributes:
        maps: By name of `vaclip.evaluation.labels.LOOK_MAPS` (S, H', W') in [0, 1], 1 at the
            largest value.
        fps: How many of these S there are a second, from the start of the clip on.
        why_none: Why there is no map at all; empty where there is one.
    """

    maps: dict[str, NDArray[np.float32]]
    fps: float
    why_none: str = ""


class ArmModels:
    """The trained models of an arm: of each clip the first of those that were tested on it.

    Args:
        source: What ``vaclip study`` or ``vaclip train`` left.
        arm: One that it has.
        folder: Where it left that.
    """

    def __init__(self, source: Source, arm: str, folder: Path) -> None:
        self.arm = arm
        self._predictions = source.predictions.only(lambda name: name == arm)
        self._folder = folder
        self._predictor = lru_cache(maxsize=2)(load_predictor)
        self._lock = Lock()
        self._near = lru_cache(maxsize=8)(self._embedded)

    def tested(self, clip_id: str) -> Model | None:
        """Returns which model was tested on a clip."""
        return self._tested.get(clip_id)

    @cached_property
    def _tested(self) -> dict[str, Model]:
        rows = self._predictions.test.sort_values([keys.PRED_SEED, keys.PRED_FOLD])
        first = rows.drop_duplicates(keys.PRED_CLIP)
        columns = (first[name] for name in (keys.PRED_CLIP, keys.PRED_FOLD, keys.PRED_SEED))
        return {
            clip_id: (self.arm, fold, seed) for clip_id, fold, seed in zip(*columns, strict=True)
        }

    def nearby(self, clip_id: str) -> Nearby | None:
        """Returns what lies near a clip; None where it was not tested, or nothing was aligned."""
        model = self.tested(clip_id)
        if model is None or (found := self._near(model)) is None:
            return None
        ids, video, attn = found
        if clip_id not in ids:
            return None  # it has no map
        own = video[ids.index(clip_id)]
        videos = [
            near for near in _ranked(ids, video @ own, NEAREST + 1) if near.clip_id != clip_id
        ]
        return Nearby(videos[:NEAREST], _ranked(ids, attn @ own, NEAREST))

    def _embedded(
        self, model: Model
    ) -> tuple[list[str], NDArray[np.floating], NDArray[np.floating]] | None:
        if model not in self._predictions.embeddings:
            return None
        clips = self._predictions.model_clips(*model)
        assert clips.video is not None
        assert clips.attn is not None
        test, (_, fold, seed) = self._predictions.test, model
        own = test[(test[keys.PRED_FOLD] == fold) & (test[keys.PRED_SEED] == seed)]
        ids = np.unique(own[keys.PRED_CLIP].to_numpy(str))[clips.mapped]
        return ids.tolist(), clips.video, clips.attn

    def looks(self, study: Study, clip: Clip) -> Looks:
        """Returns where the model that was tested on a clip looked.

        Args:
            study: Of the clip.
            clip: One that was tested.

        Raises:
            VaclipError: If the model's checkpoint, or the clip, cannot be used.
        """
        arm, fold, seed = self._tested[clip.clip_id]
        job = job_folder(self._folder, f"{folder_name(arm)}-fold{fold}-seed{seed}")
        run = job if job.is_dir() else self._folder
        with self._lock:  # one model at a time: a page is looked at by one person
            predictor = self._predictor(checkpoint_path(fold_folder(run, fold), "best"))
            return _looks(predictor, study, clip)


def _looks(predictor: Predictor, study: Study, clip: Clip) -> Looks:
    model, root = predictor.model, clip_cache(predictor.data["cache_dir"])
    annotators = model_annotators(predictor, study)
    segments = clip_segments(predictor, study, clip, annotators, root, predictor.map_choices[0])
    found: dict[str, list[torch.Tensor]] = {}
    no_place = why_no_place(model)
    for segment in segments:
        inputs = segment_inputs(segment, predictor.device)
        with torch.no_grad():
            outputs = model(*inputs, embed=False)
        maps = {
            "predicted": outputs.get(keys.PREDICTED_MAP),
            "gate": model.place_gate(inputs, outputs),
        }
        if not no_place:
            maps["gradcam"] = gradcam(model, inputs, outputs[keys.LOGITS].argmax(dim=1))
        for name, own in maps.items():
            if own is not None:
                found.setdefault(name, []).append(own[:, 0])
    data, samples = predictor.data, segments.items[0].cached.samples
    over_samples = {
        name: map_over_samples(
            torch.cat(own).float().numpy(force=True), samples, data["frames"], data["stride"]
        )
        for name, own in found.items()
    }
    return Looks(over_samples, data["fps"], "" if over_samples else no_place)


def _ranked(ids: list[str], cosine: NDArray[np.floating], count: int) -> list[Near]:
    return [
        Near(ids[row], float(cosine[row])) for row in np.argsort(-cosine, kind="stable")[:count]
    ]
