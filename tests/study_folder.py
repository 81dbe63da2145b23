"""A small study folder as `vaclip study` leaves it, drawn at random."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from vaclip import keys
from vaclip.evaluation.embeddings import Embeddings
from vaclip.evaluation.evaluate import evaluate
from vaclip.evaluation.predictions import Predictions
from vaclip.files import write_json
from vaclip.metrics.retrieval import unit_rows

CLASSES = ("normal", "hip", "knee")
SKILL = {
    "B0": 0.6, "B1": 0.8, "B2": 1.2, "B3": 1.8, "B4": 1.7, "C1": 1.0, "C2": 1.3,
    "C3_linear": 1.8, "C3_sigmoid": 1.6, "K_shuffled": 0.5, "K_uniform": 0.7, "K_centre": 0.7,
    "K_random": 0.5, "K_map_only": 0.9, "K_withheld": 0.8, "K_shuffled_within_class": 0.7,
    "K_swapped": 0.3, "P1": 0.7, "P2": 1.5, "P_shuffled": 0.6, "P_prior": 0.8,
}  # fmt: skip
AXES = {
    "train_fraction": ("0.25", "0.5"),
    "noise_displacement": ("0.05", "0.1", "0.2"),
    "noise_blur": ("0.05", "0.1"),
    "noise_gain": ("0.25", "0.5"),
    "noise_dropout": ("0.25", "0.5", "0.75"),
}
ANNOTATORS = ("md1", "md2")
ROLES = {
    "baseline": "B0", "method": "B3", "shuffled": "K_shuffled", "map_only": "K_map_only",
    "withheld": "K_withheld", "swapped": "K_swapped",
    "taught": "P2", "untaught": "P1", "taught_shuffled": "P_shuffled", "prior": "P_prior",
    "controls": [arm for arm in SKILL if arm.startswith("K_")],
    "pairs": [["B3", "B1"], ["B3", "B2"], ["B4", "B3"], ["B3", "C1"], ["B3", "C2"],
              ["B3", "C3_linear"], ["B3", "C3_sigmoid"]],
}  # fmt: skip


def write_study(
    folder: Path,
    *,
    patients: int = 12,
    arms: tuple[str, ...] = ("B0", "B3", "C3_linear", "K_shuffled"),
    seeds: int = 2,
    folds: int = 3,
    clips: int = 2,
    classes: tuple[str, ...] = CLASSES,
    clip_name: str = "{patient}-{clip}",
    reason: str = "the video cannot be decoded",
    variants: bool = True,
    skip: tuple[tuple[str, int, int], ...] = (),
    size: int = 32,
) -> Path:
    """Writes every file of the contract.

    Args:
        folder: Made if it is not there.
        patients: How many; they are called anna_00, anna_01, ...
        arms: Names in study order, keys of `SKILL`.
        seeds: How many.
        folds: How many.
        clips: Of each patient.
        classes: Names.
        clip_name: Pattern of clip ids.
        reason: Why a clip was excluded and a job failed.
        variants: Whether there are points of axes.
        skip: Jobs (arm, fold, seed) that failed.
        size: Height and width of the gallery's pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    names = [*arms, *(_variants(arms) if variants else [])]
    people = [f"anna_{p:02d}" for p in range(patients)]
    table = _predictions(rng, names, people, seeds, folds, clips, classes, clip_name, skip)
    Predictions.of(table, embeddings=_embeddings(table)).save(folder)
    jobs = [(arm, fold, seed) for arm in names for seed in range(seeds) for fold in range(folds)]
    pd.DataFrame(
        [(*job, *(("failed", reason) if job in skip else ("done", ""))) for job in jobs],
        columns=["arm", "fold", "seed", "state", "reason"],
    ).to_csv(folder / keys.JOBS_FILE, index=False)
    write_json(folder / keys.ARMS_FILE, {"roles": ROLES, "arms": [_arm(arm) for arm in arms]})
    excluded = clip_name.format(patient="anna_00", clip="lost")
    write_json(folder / keys.DATA_CARD_FILE, _card(patients, clips, classes, excluded, reason))
    _gallery(folder, rng, table, classes, size)
    (folder / keys.CONFIG_FILE).write_text("arms: default\nsplit:\n  folds: 5\n", "utf-8")
    write_json(
        folder / keys.ENVIRONMENT_FILE,
        {"python": "3.11.9", "platform": "Linux", "packages": {"torch": "2.13.0"}, "git": None},
    )
    return folder


def _variants(arms: tuple[str, ...]) -> list[str]:
    own = [keys.variant_name(arm, "train_fraction", v) for arm in arms if arm in ("B0", "B3")
           for v in AXES["train_fraction"]]  # fmt: skip
    own += [
        keys.variant_name(arm, axis, value)
        for arm in arms
        if arm in ("B3", "C3_sigmoid")
        for axis, values in AXES.items()
        if axis.startswith(keys.AXIS_NOISE_PREFIX)
        for value in values
    ]
    pairs = [f"{one}>{other}" for one in ANNOTATORS for other in ANNOTATORS]
    return own + [keys.variant_name("B3", keys.AXIS_ANNOTATORS, pair) for pair in pairs]


def _skill(name: str) -> float:
    arm, axis, value = keys.split_variant(name)
    skill = SKILL[arm]
    if axis == keys.AXIS_TRAIN_FRACTION:
        return skill * float(str(value)) ** 0.5
    if axis == keys.AXIS_ANNOTATORS:
        one, other = str(value).split(">")
        return skill * (1.0 if one == other else 0.8)
    if axis:
        far = 1 - float(str(value)) if axis.endswith("gain") else float(str(value))
        return skill * (1 - 0.6 * far)
    return skill


def _predictions(rng, names, people, seeds, folds, clips, classes, clip_name, skip):
    label = np.arange(len(people)) % len(classes)
    patient_effect = rng.normal(0, 0.8, len(people))
    rows = []
    for name in names:
        own = np.random.default_rng(
            [len(people), *(("B3" if name == "C3_linear" else name).encode())]
        )
        arm_effect = own.normal(0, 0.5, len(people))
        for seed in range(seeds):
            for p, person in enumerate(people):
                for split, shift in (("test", 0), ("val", 1)):
                    fold = (p // len(classes) + seed + shift) % folds
                    for clip in range(clips):
                        logit = own.normal(0, 0.6, len(classes))
                        logit[label[p]] += _skill(name) + patient_effect[p] + arm_effect[p]
                        probs = np.exp(logit) / np.exp(logit).sum()
                        sim = np.nan if name in ("B0", "B2") else own.uniform(-0.2, 0.9)
                        if (name, fold, seed) in skip:
                            continue
                        clip_id = clip_name.format(patient=person, clip=clip)
                        fixed = ("demo gait study", name, fold, seed, split, person, clip_id, 0)
                        donor = classes[(label[p] + 1) % len(classes)] if "swap" in name else ""
                        rows.append((*fixed, classes[label[p]], sim, p % 6, donor, *probs))
    columns = [*keys.PREDICTION_COLUMNS, *(keys.PRED_PROB_PREFIX + name for name in classes)]
    return pd.DataFrame(rows, columns=columns)


def _embeddings(table):
    """Draws embeddings whose cosines are the similarities of the table, for each aligned model."""
    found = {}
    for model, rows in table[table.split == "test"].groupby(["arm", "fold", "seed"]):
        if keys.split_variant(model[0])[1] is None and rows.align_sim.notna().all():
            own = np.random.default_rng(list(repr(model).encode()))
            attn = unit_rows(own.normal(size=(len(rows), 8)))
            aside = own.normal(size=(len(rows), 8))
            aside = unit_rows(aside - (aside * attn).sum(axis=1, keepdims=True) * attn)
            cosine = rows.align_sim.to_numpy()[:, None]
            found[model] = Embeddings(cosine * attn + np.sqrt(1 - cosine**2) * aside, attn)
    return found


def judged(source, **options):
    """Evaluates what `read_folder` read, as `write_report` does."""
    blinding = source.data_card.blinding
    return evaluate(
        source.everything, roles=source.roles, arms=source.scored, blinding=blinding, **options
    )


def _arm(arm):
    return {
        "arm": arm,
        "method": "full method, CLIP alignment and map-guided pooling" if arm == "B3" else
        f"method {arm} with a control map" if arm.startswith("K_") else f"method {arm}",
        "question": f"What does {arm} tell apart from the full method?",
        "switches": {"model.map_guided": arm != "B0", "model.map_guided_type": "spatiotemporal"},
        "loss": "CE" if arm in ("B0", "B2") else "CE + 1 CLIP",
        "notes": "the same model as B3" if arm == "C3_linear" else "",
    }  # fmt: skip


def _card(patients, clips, classes, excluded, reason):
    per_class = [
        {"class": name, "patients": len(range(k, patients, len(classes))),
         "clips": clips * len(range(k, patients, len(classes)))}
        for k, name in enumerate(classes)
    ]  # fmt: skip
    return {
        "name": "demo gait study", "classes": list(classes), "patients": patients,
        "clips": patients * clips, "per_class": per_class,
        "annotators": [{"annotator": name, "clips": patients * clips} for name in ANNOTATORS],
        "distinct_maps": 6, "clips_without_map": 1,
        "clip_seconds": {"min": 2.0, "median": 3.5, "max": 6.0},
        "excluded": [{"clip_id": excluded, "reason": reason}],
        "agreement": [{"first": "md1", "second": "md2", "clips": 20, "exact": 0.8,
                       "kappa": None, "cc_mean": 0.71, "cc_sd": 0.12,
                       "sim_mean": 0.55, "sim_sd": 0.1}],
        "joint_agreement": {"clips": 20, "fleiss_kappa": None},
        "findings": [{"severity": "warning", "subject": "duplicates",
                      "what": "2 patients have one file", "advice": "look at it",
                      "clips": [excluded], "patients": ["anna_00", "anna_01"]}],
        "content_hash": "5f2c",
    }  # fmt: skip


def _gallery(folder, rng, table, classes, size):
    (folder / "gallery").mkdir(exist_ok=True)
    rows = table[(table.arm == table.arm.iloc[-1]) & (table.split == "test")]
    rows = rows[(rows.fold == rows.fold.iloc[0]) & (rows.seed == rows.seed.iloc[0])]
    rows = rows.drop_duplicates("patient_id").reset_index()
    probs = rows[[keys.PRED_PROB_PREFIX + name for name in classes]].to_numpy()
    wrong = probs.argmax(axis=1) != [classes.index(label) for label in rows.label]
    cases = []
    for n, why in enumerate(("right", "wrong", "most aligned", "least aligned")):
        fitting = np.flatnonzero(wrong == (why == "wrong"))
        number = int(fitting[n % len(fitting)]) if len(fitting) else n % len(rows)
        row = rows.iloc[number]
        others = [rows.iloc[(number + k) % len(rows)] for k in (0, 1, 2)]
        nearest = [
            {"clip_id": o.clip_id, "patient_id": o.patient_id, "label": o.label,
             "similarity": 0.9 - 0.1 * k, "same_map": k == 0}
            for k, o in enumerate(others)
        ]  # fmt: skip
        file = f"gallery/case_{n}.npz"
        probs = {name: float(row[keys.PRED_PROB_PREFIX + name]) for name in classes}
        cases.append(
            {"why": why, "clip_id": row.clip_id, "patient_id": row.patient_id, "segment": 0,
             "label": row.label, "probs": probs, "similarity": None if n == 3 else 0.81,
             "file": file, "nearest": nearest}
        )  # fmt: skip
        np.savez_compressed(folder / file, **_pictures(rng, size, gate=n != 1, annotated=n != 3))
    write_json(folder / keys.GALLERY_FILE, {"arm": "B3", "fold": 0, "seed": 0, "cases": cases})


def _pictures(rng, size, *, gate, annotated):
    y, x = np.mgrid[:size, :size] / size
    light = 0.35 + 0.25 * y + rng.normal(0, 0.01, (size, size))
    frames, maps, gates = [], [], []
    for t in range(4):
        left = 0.25 + 0.15 * t
        body = (np.abs(x - left) < 0.08 - 0.03 * (y > 0.5)) & (y > 0.2) & (y < 0.9)
        head = (x - left) ** 2 + (y - 0.15) ** 2 < 0.004
        frames.append(np.where(body | head, 0.9, light)[..., None].repeat(3, axis=-1))
        spot = np.exp(-((x - left) ** 2 + (y - 0.6) ** 2) / 0.008)
        maps.append(spot * annotated)
        gates.append(np.exp(-((x - left - 0.05) ** 2 + (y - 0.5) ** 2) / 0.03))
    nearest = [np.exp(-((x - 0.5) ** 2 + (y - at) ** 2) / 0.01) for at in (0.6, 0.5, 0.3)]
    arrays = {"frames": frames, "map": maps, "nearest": nearest} | ({"gate": gates} if gate else {})
    return {
        name: np.rint(255 * np.clip(np.stack(a), 0, 1)).astype(np.uint8)
        for name, a in arrays.items()
    }


def read_json(path: Path):
    return json.loads(path.read_text("utf-8"))
