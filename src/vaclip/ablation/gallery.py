"""The gallery: a few test segments as a model saw them, and the maps that it finds nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip import keys
from vaclip.config import Config
from vaclip.data.dataset import SegmentDataset
from vaclip.files import atomic_file, write_json
from vaclip.metrics.modules import PROBS, SplitPredictions, alignment_similarity
from vaclip.metrics.retrieval import unit_rows
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.folder import checkpoint_path, fold_folder
from vaclip.runs.prepare import PreparedStudy, prepare_fold, split_plan
from vaclip.study.study import Study
from vaclip.training.checkpoint import load_model
from vaclip.training.inference import predict_segments
from vaclip.training.pictures import segment_pictures

KINDS = ("right", "wrong", "most aligned", "least aligned")
"""Why a case is shown, in the order of the gallery."""
_PER_KIND = 2
_NEAREST = 5
_FOLDER = "gallery"

Table = dict[str, NDArray[Any]]


def write_gallery(
    config: Config,
    prepared: PreparedStudy,
    run_dir: Path,
    fold: int,
    out: Path,
    *,
    device: str = "cpu",
) -> None:
    """Writes `keys.GALLERY_FILE` and the pictures of its cases, the file last.

    Probabilities and similarity are of the segment that is shown. Where the CLIP term was not
    trained, its embeddings mean nothing: similarity is null, and there are no aligned cases and
    no nearest maps.

    Args:
        config: The settings of a finished run.
        prepared: Its study.
        run_dir: Its folder.
        fold: The fold whose best checkpoint and test split are used.
        out: The study folder to write to; an older gallery there is replaced.
        device: Where the model runs.

    Raises:
        VaclipError: If the checkpoint cannot be used.
    """
    model, _ = load_model(checkpoint_path(fold_folder(run_dir, fold), "best"), device)
    patients = split_plan(config, prepared.study).folds[fold]
    segments = prepare_fold(config, prepared, patients)["test"]
    # Both are in the order of clip and segment: row i of the table is segment i.
    table = _predict(model, segments, config.data.batch_size, device)
    aligned = config.loss.clip_weight > 0
    similarity = alignment_similarity(table, aligned=aligned)
    rows = one_a_clip(table)

    (out / keys.GALLERY_FILE).unlink(missing_ok=True)
    for old in (out / _FOLDER).glob("case_*.npz"):
        old.unlink()
    cases = []
    for number, (row, why) in enumerate(choose_cases(table, similarity, rows)):
        nearest = nearest_maps(table, row, rows) if aligned else []
        file = f"{_FOLDER}/case_{number}.npz"
        with atomic_file(out / file) as temporary:
            stills = map_stills(segments, [other for other, _ in nearest])
            segment = {**segments[row], keys.VIDEO: segments.video(row)}
            pictures = segment_pictures(model, segment, device)
            np.savez_compressed(temporary, **pictures, nearest=stills)
        cases.append(
            {
                "why": why,
                **_about(prepared.study, table, row),
                "segment": int(table[keys.SEGMENT][row]),
                "probs": dict(zip(prepared.study.classes, table[PROBS][row].tolist(), strict=True)),
                "similarity": float(similarity[row]),
                "file": file,
                "nearest": _describe_nearest(prepared.study, table, row, nearest),
            }
        )
    gallery = {"arm": config.arm, "fold": fold, "seed": config.seed, "cases": cases}
    write_json(out / keys.GALLERY_FILE, gallery)


def _predict(
    model: VideoAttentionCLIP, segments: SegmentDataset, batch_size: int, device: str
) -> Table:
    predictions = SplitPredictions()
    for batch, outputs in predict_segments(model, segments, batch_size, device):
        predictions.update(batch, outputs)
    return predictions.compute()


def _describe_nearest(
    study: Study, table: Table, row: int, nearest: list[tuple[int, float]]
) -> list[dict[str, Any]]:
    map_id = table[keys.MAP_ID]
    return [
        {
            **_about(study, table, other),
            "similarity": cosine,
            "same_map": bool(map_id[other] == map_id[row]),
        }
        for other, cosine in nearest
    ]


def _about(study: Study, table: Table, row: int) -> dict[str, str]:
    clip = study.clips[table[keys.CLIP_ROW][row]]
    return {"clip_id": clip.clip_id, "patient_id": clip.patient_id, "label": clip.label}


def one_a_clip(table: Table) -> NDArray[np.int64]:
    """Returns a row of the table for each clip: its first segment that has a map, else its first.

    Args:
        table: What `SplitPredictions` computes.
    """
    order = np.lexsort((table[keys.SEGMENT], ~table[keys.ATTN_VALID], table[keys.CLIP_ROW]))
    return order[np.unique(table[keys.CLIP_ROW][order], return_index=True)[1]]


def choose_cases(
    table: Table, similarity: NDArray[np.float64], rows: NDArray[np.int64]
) -> list[tuple[int, str]]:
    """Chooses up to two cases of each of `KINDS`, or one where clips are few, none twice.

    The right ones are those with the largest, the wrong ones those with the smallest
    probability of their label. The two of a kind are of different patients where there are
    several. The aligned ones are chosen first, because only they claim to be the extremes.

    Args:
        table: What `SplitPredictions` computes.
        similarity: (N,) of its rows, NaN where it is undefined.
        rows: Those to choose from.

    Returns:
        (row, kind) in the order of `KINDS`.
    """
    label, patient = table[keys.LABEL], table[keys.PATIENT]
    certainty = table[PROBS][np.arange(len(label)), label]
    right = table[PROBS].argmax(axis=1) == label
    defined = ~np.isnan(similarity)
    rankings = {
        "most aligned": _ranked(rows[defined[rows]], -similarity),
        "least aligned": _ranked(rows[defined[rows]], similarity),
        "wrong": _ranked(rows[~right[rows]], certainty),
        "right": _ranked(rows[right[rows]], -certainty),
    }
    per_kind = _PER_KIND if len(rows) >= _PER_KIND * len(KINDS) else 1
    chosen: dict[int, str] = {}
    for why, ranking in rankings.items():
        for _ in range(per_kind):
            left = [row for row in ranking if row not in chosen]
            seen = {patient[row] for row, kind in chosen.items() if kind == why}
            unseen = [row for row in left if patient[row] not in seen]
            chosen |= dict.fromkeys((unseen or left)[:1], why)
    return sorted(chosen.items(), key=lambda case: KINDS.index(case[1]))


def _ranked(rows: NDArray[np.int64], score: NDArray[np.floating]) -> list[int]:
    """Sorts rows by score, the lowest first; of equal ones the first row comes first."""
    return rows[np.argsort(score[rows], kind="stable")].tolist()


def nearest_maps(
    table: Table, row: int, rows: NDArray[np.int64], count: int = _NEAREST
) -> list[tuple[int, float]]:
    """Ranks maps by the cosine of their embedding with a video's.

    Args:
        table: What `SplitPredictions` computes.
        row: The video.
        rows: Whose maps are compared, also the video's own; those without a map are left out.
        count: How many to return, at most.

    Returns:
        (row, cosine), the nearest first; of equal annotations the nearest alone.
    """
    rows = rows[table[keys.ATTN_VALID][rows]]
    maps = unit_rows(table[keys.ATTN_EMBED][rows].astype(np.float64))
    video = unit_rows(table[keys.VIDEO_EMBED][[row]].astype(np.float64))[0]
    cosine = maps @ video
    order = np.argsort(-cosine, kind="stable")
    first = np.unique(table[keys.MAP_ID][rows][order], return_index=True)[1]
    best = order[np.sort(first)][:count]
    return list(zip(rows[best].tolist(), cosine[best].tolist(), strict=True))


def map_stills(segments: SegmentDataset, rows: list[int]) -> NDArray[np.uint8]:
    """Returns (K, H, W): of each row's map the frame with the most attention."""
    stills = np.empty((len(rows), *segments[0][keys.ATTN_MAP].shape[2:]), np.uint8)
    for still, row in zip(stills, rows, strict=True):
        attn = segments[row][keys.ATTN_MAP].float().mean(dim=0)
        still[:] = attn[attn.sum(dim=(1, 2)).argmax()].round().byte().numpy()
    return stills
