"""What passes between parts by name: batches, model outputs, the prediction table, the blinding.

Letters: B segments, T frames, H x W pixels, C map channels, D token channels,
T' x H' x W' token grid, F ``clip_feature_dim``, E ``clip_embed_dim``, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Batch: what the data gives to the model.
VIDEO: Final = "video"
"""(B, 3, T, H, W): uint8 as loaded, normalised float after `transforms.prepare_batch`. Absent
where the batch has the `VIDEO_TOKENS` of a frozen encoder."""
ATTN_MAP: Final = "attn_map"
"""(B, C, T, H, W): uint8 as loaded, float in [0, 1] afterwards; same geometry as the video."""
ATTN_VALID: Final = "attn_valid"
"""(B,) bool: False where no annotator annotated the clip or the segment's map is empty."""
GUIDE_MAP: Final = "guide_map"
"""As ``attn_map``: guides a training segment in its place; only with ``model.map_crossfit``."""
TEACHER_LOGITS: Final = "teacher_logits"
"""(B, K): what a teacher says of a training segment; only with ``model.lambda_distill``."""
LABEL: Final = "label"
"""(B,) int64 in [0, K)."""
PATIENT: Final = "patient"
"""(B,) int64: index of the patient among the study's sorted patients."""
SESSION: Final = "session"
"""(B,) int64: equal exactly where two clips are of one session of one patient."""
CLIP_ROW: Final = "clip_row"
"""(B,) int64: row of the clip in the study."""
SEGMENT: Final = "segment"
"""(B,) int64: number of the segment within its clip."""
MAP_ID: Final = "map_id"
"""(B,) int64: equal exactly where two clips were given the same annotation; -1 for none."""

# Model outputs.
LOGITS: Final = "logits"
"""(B, K)."""
VIDEO_FEAT: Final = "video_feat"
"""(B, F) before projection."""
ATTN_FEAT: Final = "attn_feat"
"""(B, F) before projection; absent where the map branch is not run."""
VIDEO_EMBED: Final = "video_embed"
"""(B, E), unit length."""
ATTN_EMBED: Final = "attn_embed"
"""(B, E), unit length; absent where the map branch is not run."""
VIDEO_TOKENS: Final = "video_tokens"
"""(B, D, T', H', W') before guidance; only from backbones that make tokens. In a batch: those of a
frozen encoder, float16 as loaded, which the backbone ``features`` takes for the video."""
VIDEO_GATE: Final = "video_gate"
"""(B, D) or (B, 1, T', H', W'), before alpha; only where guidance makes a gate."""
PREDICTED_MAP: Final = "predicted_map"
"""(B, 1, T', H', W'), sums to 1 over a segment's grid; absent where ``map_source`` is ``given``."""

# Loss terms.
LOSS_CE: Final = "ce"
LOSS_CLIP: Final = "clip"
LOSS_TOKEN: Final = "token"
LOSS_MAP: Final = "map"
LOSS_DISTILL: Final = "distill"
LOSS_TOTAL: Final = "loss"

CONFIDENCE: Final = (1, 2, 3, 4, 5)
"""How sure a reader is of a diagnosis or a region, from a guess to certain."""

# What the CLIP term says of itself.
CLIP_NEGATIVES: Final = "clip_negatives"
"""Effective negatives of a row: how many others it is told apart from."""
CLIP_SKIPPED: Final = "clip_rows_skipped"
"""Share of rows that are left out, because they have no valid map or no negative."""
CLIP_TEMPERATURE: Final = "clip_temperature"
CLIP_BIAS: Final = "clip_bias"
"""Of the sigmoid form only."""

# Prediction table: one row a segment.
PRED_STUDY: Final = "study"
PRED_ARM: Final = "arm"
"""An arm, or a point on an axis of it: see `variant_name`."""
PRED_FOLD: Final = "fold"
PRED_SEED: Final = "seed"
PRED_SPLIT: Final = "split"
PRED_PATIENT: Final = "patient_id"
PRED_CLIP: Final = "clip_id"
PRED_SEGMENT: Final = "segment"
PRED_LABEL: Final = "label"
PRED_PROB_PREFIX: Final = "prob_"
"""One column a class: ``prob_<class name>``, float in [0, 1], summing to 1."""
PRED_SIM: Final = "align_sim"
"""Cosine of video and map embedding in [-1, 1]; NaN where the segment has no valid map."""
PRED_MAP_ID: Final = "map_id"
"""As `MAP_ID`."""
PRED_MAP_LABEL: Final = "map_label"
"""Label of the patient whose map was shown in place of the clip's own; empty where none was."""
PRED_SESSION: Final = "session"
"""Which visit of the patient, as the study names it; empty where it names none."""
PRED_SITE: Final = "site"
"""Where the clip was taken, likewise."""
PRED_MAP_INFORMATION: Final = "map_information"
"""Of the predicted map, in [0, 1]: 0 where it is the same everywhere, 1 where it is one token; NaN
where the model predicts none. 1 - entropy / log of the number of tokens."""

PRED_WEIGHTS: Final = "weights"
"""In the table's metadata (`pandas.DataFrame.attrs`): whose weights an arm takes over, and under
which licence, as ``{arm: "lite0 (Apache-2.0)"}``; arms that take over none are absent."""

PREDICTION_COLUMNS: Final = (
    PRED_STUDY,
    PRED_ARM,
    PRED_FOLD,
    PRED_SEED,
    PRED_SPLIT,
    PRED_PATIENT,
    PRED_CLIP,
    PRED_SEGMENT,
    PRED_LABEL,
    PRED_SIM,
    PRED_MAP_ID,
    PRED_MAP_LABEL,
)
"""The fixed columns; the probabilities follow in the study's class order, then `CLIP_NAMES` and
`PRED_MAP_INFORMATION`."""
CLIP_NAMES: Final = (PRED_SESSION, PRED_SITE)
"""Columns of clips.csv that a study need not have."""


# Run folder. A fold's folder within it has predictions and metrics of its own.
PLAN_FILE: Final = "split_plan.json"
STUDY_FILE: Final = "study.json"
"""What the study was made of when the run, or the ablation, began."""
METRICS_FILE: Final = "metrics.json"
FOLD_METRICS_FILE: Final = "test_metrics.json"
TRIALS_FILE: Final = "trials.csv"
"""``trial``, each setting by its key, ``val_log_loss, seconds, chosen``: the search of a fold's
settings; a study's has ``arm, fold, seed`` before."""
ABSTENTION_FILE: Final = "abstention.json"
"""Of a fold: by score of how sure the model is, the risk-coverage curve of its validation clips, as
`vaclip.evaluation.abstention.Curve`."""

# Study folder: what a study leaves for its report. A run of one arm leaves the first three.
PREDICTIONS_FILE: Final = "predictions.parquet"
CONFIG_FILE: Final = "config.yaml"
ENVIRONMENT_FILE: Final = "environment.json"
JOBS_FILE: Final = "jobs.csv"
"""``arm, fold, seed, state, reason, seconds``: all that was planned; ``state`` is done, failed,
missing; ``seconds`` is how long the training and its tests took."""
ARMS_FILE: Final = "arms.json"
"""``roles`` (as `vaclip.evaluation.roles.Roles`) and ``arms``: what each arm is, ``arm, method,
question, switches, loss, notes, model``."""
STUDY_PLAN_FILE: Final = "plan.json"
"""What was planned before the first job, and what it was changed to: `vaclip.evaluation.plan`."""
DATA_CARD_FILE: Final = "data_card.json"
GALLERY_FILE: Final = "gallery.json"
LOOK_FILE: Final = "look.csv"
"""The look audit: where models look, against where clinicians look."""
LOOK_CASES_FILE: Final = "look.json"
SHARDS_FILE: Final = "index.json"
"""Beside the shards of a study, see `vaclip.data.shards`."""

# Look table: one row a segment, map and measure; what is undefined has no row.
LOOK_MAP: Final = "map"
"""Of the model: ``predicted, gate, gradcam, integrated_gradients, occlusion``. Beside it
`LOOK_FLOORS`, `LOOK_CEILING` and, for `LOOK_REMOVAL`, `LOOK_CLINICIANS`."""
LOOK_FLOORS: Final = ("prior", "centre", "other")
"""The mean map of the training patients, the middle of the picture, other patients' maps."""
LOOK_CEILING: Final = "annotators"
"""Each annotator's map, against the mean of the others'."""
LOOK_CLINICIANS: Final = "clinicians"
LOOK_MEASURE: Final = "measure"
LOOK_AGREEMENT: Final = (
    "cc",
    "sim",
    "kl",
    "nss",
    "auc_judd",
    "energy",
    "auc_shuffled",
    "information_gain",
)
"""Of `vaclip.explain.measures`."""
LOOK_REMOVAL: Final = ("deletion", "insertion")
"""By how much better a map tells what the diagnosis rests on than a random one."""
LOOK_RANDOMISED: Final = "randomised"
"""Correlation with the map of the same network with random weights."""
LOOK_PERMUTED: Final = "permuted"
"""Correlation with the map of the same network, trained on labels dealt anew between patients."""
LOOK_VALUE: Final = "value"
LOOK_COLUMNS: Final = (
    PRED_ARM,
    PRED_FOLD,
    PRED_SEED,
    PRED_PATIENT,
    PRED_CLIP,
    PRED_SEGMENT,
    LOOK_MAP,
    LOOK_MEASURE,
    LOOK_VALUE,
)

# Axes: what a variant of an arm changes.
AXIS_TRAIN_FRACTION: Final = "train_fraction"
AXIS_ANNOTATORS: Final = "annotators"
AXIS_NOISE_PREFIX: Final = "noise_"
"""``noise_<kind>``, of the maps at test."""


def variant_name(arm: str, axis: str, value: object) -> str:
    """Names a point on an axis of an arm.

    Examples:
        >>> variant_name("B3", "train_fraction", 0.25)
        'B3@train_fraction=0.25'
    """
    return f"{arm}@{axis}={value}"


def split_variant(name: str) -> tuple[str, str | None, str | None]:
    """Returns arm, axis and value of a name; axis and value are None for an arm itself.

    Examples:
        >>> split_variant("B3@annotators=md1>md2")
        ('B3', 'annotators', 'md1>md2')
    """
    arm, _, rest = name.partition("@")
    axis, _, value = rest.partition("=")
    return (arm, axis, value) if rest else (arm, None, None)


@dataclass(frozen=True)
class Blinding:
    """What the annotators of a study knew: ``annotation`` of study.yaml.

    Attributes:
        blinded: Whether they did not know the diagnosis; None where nobody recorded it.
        saw: What they saw beside the videos, in words.
        when: Whether they annotated ``before`` or ``after`` the diagnosis was made, or ``unknown``.
    """

    blinded: bool | None = None
    saw: tuple[str, ...] = ()
    when: str = "unknown"

    def __str__(self) -> str:
        blinded = "unknown" if self.blinded is None else "yes" if self.blinded else "no"
        return "; ".join([blinded, *self.circumstances])

    @property
    def circumstances(self) -> tuple[str, ...]:
        """What else was recorded, a phrase each."""
        saw = (f"they saw {', '.join(self.saw)}",) if self.saw else ()
        when = f"they annotated {self.when} the diagnosis was made"
        return saw if self.when == "unknown" else (*saw, when)


NOT_RECORDED: Final = Blinding()
