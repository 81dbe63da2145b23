"""The look audit of a study: where its models look, against where clinicians look.

Each model's table lies beside its predictions, and is made once; ``look.csv`` of the study puts
them together. A few cases, in which model and clinicians look most apart, are kept as pictures.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vaclip import keys
from vaclip.ablation.ablation import Ablation, jobs_at_once
from vaclip.ablation.job import arm_folder
from vaclip.ablation.plan import Job
from vaclip.ablation.worker import job_folder
from vaclip.config import Config
from vaclip.data.cache import cache_study, clip_cache
from vaclip.data.dataset import SegmentDataset
from vaclip.data.prior_map import prior_map
from vaclip.explain.audit import POSITION, Audited, look_arrays, look_audit, segment_inputs
from vaclip.explain.saliency import why_no_place
from vaclip.files import atomic_file, content_digest, json_digest, write_csv, write_json
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.folder import checkpoint_path, fold_folder
from vaclip.runs.prepare import (
    PreparedStudy,
    chosen_annotators,
    prepare_fold,
    sample_settings,
    split_plan,
)
from vaclip.runs.tokens import with_tokens
from vaclip.seeds import mix_seed
from vaclip.training.checkpoint import load_model
from vaclip.training.pictures import grid_stills, stills

ROLES: Final = ("taught", "untaught", "taught_shuffled", "bedside", "method", "baseline")
"""The roles whose arms are audited."""
_MADE_BY = 2  # goes up when what is in a model's table changes
_MODEL = "model"
_WORDS: Final[dict[Any, Any]] = dict.fromkeys(
    (keys.PRED_ARM, keys.PRED_PATIENT, keys.PRED_CLIP, keys.LOOK_MAP, keys.LOOK_MEASURE, _MODEL),
    str,
)
_CASES = 3
_DIGITS = "%.6g"
_FOLDER = "look"
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Model:
    """A trained model of a study, as one of its arms."""

    job: Job
    config: Config
    place: Path
    """Of the arm's predictions."""
    checkpoint: Path
    permuted: Path | None
    """That of the same, trained on labels that were dealt anew; None where there is none."""
    prepared: PreparedStudy


def write_looks(
    ablation: Ablation,
    done: Sequence[Job],
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes `keys.LOOK_FILE` and `keys.LOOK_CASES_FILE` of a study, with the cases' pictures.

    Args:
        ablation: The study.
        done: Its finished jobs.
        device: Where models run.
        progress: Called with (done, total) models.

    Raises:
        VaclipError: If a checkpoint cannot be used.
    """
    clips = ablation.study.look_clips
    found = _models(ablation, done) if clips else []
    kept = [_kept(own, clips) for own in found]
    at_once = jobs_at_once(ablation) if device == "cpu" else 1
    made = joblib.Parallel(at_once, return_as="generator")(
        joblib.delayed(_looked)(own, clips, device)
        for own, table in zip(found, kept, strict=True)
        if table is None
    )
    tables: list[tuple[_Model, pd.DataFrame]] = []
    refused: dict[str, str] = {}
    for number, (own, before) in enumerate(zip(found, kept, strict=True), start=1):
        table = next(made) if before is None else before
        if isinstance(table, str):
            refused[own.config.arm] = table
        elif len(table):
            tables.append((own, table))
        progress(number, len(found))
    next(made, None)  # joblib warns where nobody asks to the end
    for arm, why in refused.items():
        _LOG.info("where %s looks cannot be told: %s", arm, why)
    for name in (keys.LOOK_FILE, keys.LOOK_CASES_FILE):
        (ablation.folder / name).unlink(missing_ok=True)
    if tables:
        write_csv(
            pd.concat([table for _, table in tables]),
            ablation.folder / keys.LOOK_FILE,
            float_format=_DIGITS,
        )
        _write_cases(ablation, tables, device)


def _models(ablation: Ablation, done: Sequence[Job]) -> list[_Model]:
    roles = ablation.study.roles
    arms = {arm for role in ROLES if (arm := getattr(roles, role)) is not None}
    prepared: dict[str, PreparedStudy] = {}
    finished = [job for job in ablation.jobs if job in done]
    permuted = {
        (job.seed, job.fold): _checkpoint(ablation, job)
        for job in finished
        if job.config.arm == roles.permuted
    }
    found = []
    for job in finished:
        folder = job_folder(ablation.folder, job.name)
        for config in (job.config, *job.tests):
            if config.arm not in arms:
                continue
            features = json_digest(dataclasses.asdict(config.features))
            if features not in prepared:
                prepared[features] = with_tokens(config, ablation.prepared)
            place = arm_folder(folder, job, config.arm)
            against = permuted.get((job.seed, job.fold)) if config.arm == roles.method else None
            checkpoint = _checkpoint(ablation, job)
            found.append(_Model(job, config, place, checkpoint, against, prepared[features]))
    return found


def _checkpoint(ablation: Ablation, job: Job) -> Path:
    return checkpoint_path(fold_folder(job_folder(ablation.folder, job.name), job.fold), "best")


def _looked(own: _Model, clips: int, device: str) -> pd.DataFrame | str:
    """Makes the table of a model, or returns why there is none."""
    model, about = load_model(own.checkpoint, device)
    if why := why_no_place(model):
        return why
    permuted = None if own.permuted is None else load_model(own.permuted, device)[0]
    return _audit(own, model, _untrained(own, about["model"], device), permuted, clips)


def _made_of(own: _Model, clips: int) -> str:
    networks = [path and content_digest(path) for path in (own.checkpoint, own.permuted)]
    return json_digest([_MADE_BY, clips, *networks])[:16]


def _kept(own: _Model, clips: int) -> pd.DataFrame | None:
    """Reads the table of a model; None where there is none, or it is of another model."""
    path = own.place / keys.LOOK_FILE
    if not path.exists():
        return None
    table = pd.read_csv(path, dtype=_WORDS, keep_default_na=False)
    same = set(table[_MODEL]) <= {_made_of(own, clips)}
    return table[list(keys.LOOK_COLUMNS)] if same and len(table) else None


def _audit(
    own: _Model,
    model: VideoAttentionCLIP,
    untrained: VideoAttentionCLIP,
    permuted: VideoAttentionCLIP | None,
    clips: int,
) -> pd.DataFrame:
    """Makes the table of a model, and keeps it; it is empty where no test clip has a map."""
    shown, truth, prior = _segments(own)
    chosen = chosen_segments(truth, clips)
    if not chosen or prior is None:
        return pd.DataFrame(columns=list(keys.LOOK_COLUMNS))
    audited = Audited(
        [shown[n] for n in chosen],
        _maps(truth, chosen),
        np.array([truth[n][keys.PATIENT].item() for n in chosen]),
        prior,
        tuple(_maps(one, chosen) for one in _of_each_annotator(own, truth, chosen)),
    )
    table = look_audit(model, untrained, audited, permuted=permuted, seed=own.config.seed)
    rows = [truth.items[truth.segments[n][0]].cached.clip for n in chosen]
    position = table.pop(POSITION)
    table[keys.PRED_ARM] = own.config.arm
    table[keys.PRED_FOLD], table[keys.PRED_SEED] = own.job.fold, own.job.seed
    table[keys.PRED_PATIENT] = [rows[n].patient_id for n in position]
    table[keys.PRED_CLIP] = [rows[n].clip_id for n in position]
    table[keys.PRED_SEGMENT] = [truth.segments[chosen[n]][1] for n in position]
    table = table[list(keys.LOOK_COLUMNS)]
    made_of = _made_of(own, clips)
    write_csv(table.assign(**{_MODEL: made_of}), own.place / keys.LOOK_FILE, float_format=_DIGITS)
    return table


def _segments(own: _Model) -> tuple[SegmentDataset, SegmentDataset, Tensor | None]:
    """The test segments as the model is shown them, those with the clinicians' maps, the prior."""
    patients = split_plan(own.config, own.prepared.study).folds[own.job.fold]
    as_drawn = dataclasses.replace(
        own.config.data, control=None, test_control=None, test_noise=None
    )
    shown = prepare_fold(own.config, own.prepared, patients)["test"]
    datasets = prepare_fold(dataclasses.replace(own.config, data=as_drawn), own.prepared, patients)
    train = datasets["train"].items
    if all(item.cached.attn is None for item in train):
        return shown, datasets["test"], None
    prior = prior_map(train, {item.cached.clip.patient_id for item in train})
    return shown, datasets["test"], torch.from_numpy(prior)


def chosen_segments(segments: SegmentDataset, clips: int) -> list[int]:
    """Chooses the first segment with a map of some clips, first of one clip of each patient.

    Args:
        segments: Those of a test split.
        clips: How many clips at most.

    Returns:
        Their numbers, in order.
    """
    first: dict[int, int] = {}  # by clip
    for number, (position, _, _) in enumerate(segments.segments):
        if position not in first and segments[number][keys.ATTN_VALID]:
            first[position] = number
    before: Counter[int] = Counter()
    turns = []
    for position, number in first.items():
        patient = segments.items[position].patient
        turns.append((before[patient], number))
        before[patient] += 1
    return sorted(number for _, number in sorted(turns)[:clips])


def _maps(segments: SegmentDataset, chosen: Sequence[int]) -> Tensor:
    return torch.stack([segments[n][keys.ATTN_MAP] for n in chosen])


def _of_each_annotator(
    own: _Model, truth: SegmentDataset, chosen: Sequence[int]
) -> list[SegmentDataset]:
    """The test segments with the maps of each annotator alone; none where there is only one."""
    data, study = own.config.data, own.prepared.study
    names = chosen_annotators(data, study)[1]
    if len(names) < 2:
        return []
    needed = {truth.segments[n][0] for n in chosen}
    clips = [truth.items[position].cached.clip for position in sorted(needed)]
    found = []
    for name in names:
        settings = dataclasses.replace(sample_settings(data, (name,)), combine="mean")
        cached = cache_study(study.only(clips), settings, clip_cache(data.cache_dir), workers=1)
        maps = {one.clip.clip_id: one.attn for one in cached}
        items = [
            dataclasses.replace(
                item,
                cached=dataclasses.replace(item.cached, attn=maps.get(item.cached.clip.clip_id)),
            )
            for item in truth.items
        ]
        alone = truth.of(items)
        alone.channels = 1  # of clips that this one did not annotate
        found.append(alone)
    return found


def _untrained(own: _Model, arguments: dict[str, object], device: str) -> VideoAttentionCLIP:
    with torch.random.fork_rng():
        torch.manual_seed(mix_seed(own.job.seed, own.job.fold))
        model = VideoAttentionCLIP(**arguments)  # ty: ignore[invalid-argument-type]
    return model.to(device).eval()


def _write_cases(
    ablation: Ablation, tables: Sequence[tuple[_Model, pd.DataFrame]], device: str
) -> None:
    """Keeps where the taught arm, else the method, looks most apart from the clinicians."""
    roles = ablation.study.roles
    by_arm = {own.config.arm: (own, table) for own, table in reversed(tables)}  # the first of each
    arm = next((one for one in (roles.taught, roles.method) if one in by_arm), None)
    if arm is None:
        return
    own, table = by_arm[arm]
    which = next(name for name in ("predicted", "gradcam") if name in set(table[keys.LOOK_MAP]))
    rows = table[(table[keys.LOOK_MAP] == which) & (table[keys.LOOK_MEASURE] == "cc")]
    rows = rows.sort_values(keys.LOOK_VALUE, kind="stable").drop_duplicates(keys.PRED_PATIENT)
    for old in (ablation.folder / _FOLDER).glob("case_*.npz"):
        old.unlink()
    model, _ = load_model(own.checkpoint, device)
    shown, truth, _ = _segments(own)
    numbers = {
        (truth.items[position].cached.clip.clip_id, segment): number
        for number, (position, segment, _) in enumerate(truth.segments)
    }
    labels = {clip.clip_id: clip.label for clip in own.prepared.study.clips}
    cases = []
    for row in rows.head(_CASES).itertuples():
        number = numbers[row.clip_id, row.segment]
        looked = look_arrays(model, segment_inputs(shown[number], device))[which]
        segment = {**truth[number], keys.VIDEO: truth.video(number)}
        weights = torch.from_numpy(looked / looked.max())[:, None]
        pictures = stills(segment)
        looked_at = grid_stills(weights, segment[keys.ATTN_MAP].shape[1:])
        file = f"{_FOLDER}/case_{len(cases)}.npz"
        with atomic_file(ablation.folder / file) as temporary:
            np.savez_compressed(temporary, **pictures, look=looked_at)
        cases.append(
            {
                "clip_id": row.clip_id,
                "patient_id": row.patient_id,
                "label": labels[str(row.clip_id)],
                "segment": row.segment,
                "cc": row.value,
                "file": file,
            }
        )
    about = {"arm": arm, "fold": own.job.fold, "seed": own.job.seed, "map": which}
    write_json(ablation.folder / keys.LOOK_CASES_FILE, {**about, "cases": cases})
