"""Does more of time help where the gait tells the class? Frozen tokens, judged on validation.

    python benchmarks/motion.py FOLDER [KEY=VALUE ...] [--arm B0] [--variants NAME ...]
        [--cohorts 101 102 103] [--folds 0 1 2] [--seeds 0 1 2] [--workers 1]

Trains an arm on lite0's tokens of generated cohorts whose classes are signs of the gait: two of
posture (a lean of the trunk, a dropped head) and one of motion (short steps). The truth is
``null``; ``leaks`` has the same videos. The cohorts have other seeds than the default one's, of
which documents quote test patients. Beside what the package does today, a light convolution over
three neighbours in time (``present``), stand variants of it (`VARIANTS`). Validation patients alone
are scored, after the last of 12 epochs: they choose no epoch either. Each training leaves a file
in FOLDER, which is of one set of KEY=VALUE; the same command goes on where it was stopped.

**The rule, written before any result was read.** A unit is a fold of a cohort, averaged over
training seeds; gains over ``present`` are paired by unit. A variant becomes a setting only if, for
B0 (video only), its mean gain in balanced accuracy per patient is above 0.03 and above two standard
errors over units, and its mean log loss is not worse. Of several the one of the greatest gain is
taken. The best for B0, whether it passes or not, is then tried for P2, and a passing one becomes
the default only if its mean gain there is not negative. Since one of six passes two standard errors
by luck in up to a quarter of such experiments, one that passes is confirmed on the test patients of
the default cohorts, whatever comes out.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score, log_loss, recall_score
from torch import Tensor, nn

from vaclip import keys
from vaclip.compose import compose_settings
from vaclip.config import Config
from vaclip.files import atomic_file
from vaclip.metrics.modules import PROBS
from vaclip.models.encoders.base import Encoded
from vaclip.models.encoders.cnn3d import conv_block_3d
from vaclip.models.encoders.features import FrozenFeatures
from vaclip.runs.prepare import PreparedStudy, open_study, prepare_fold, prepare_study, split_plan
from vaclip.runs.run import build_module, fold_data
from vaclip.runs.tokens import encoder_arguments, with_tokens
from vaclip.runs.trainer import silent_trainer
from vaclip.training.module import channels_last

PRESENT = "present"
KINDS = {"motion": ["short_steps"], "posture": ["trunk_lean", "head_drop"]}
RUN = ["variant", "cohort", "fold", "seed"]
UNIT = ["cohort", "fold"]
LEAST_GAIN, ERRORS = 0.03, 2.0


class Nothing(nn.Module):
    """Adds nothing to the tokens: each step stays as it is."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.new_zeros(())


class TwoLayers(nn.Module):
    """Two residual convolutions over five neighbours in time, each channel apart."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (
            conv_block_3d(width, width, (5, 1, 1), (1, 1, 1), groups=width) for _ in range(2)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        first = self.first(tokens)
        return first + self.second(tokens + first)


class Mixed(FrozenFeatures):
    """`FrozenFeatures` with another mixing in time, built from its width."""

    def __init__(self, width: int, mixing: Callable[[int], nn.Module], **options: float) -> None:
        super().__init__(width, **options)
        self.mix = mixing(width)


class Differences(FrozenFeatures):
    """`FrozenFeatures` on how much each channel changed since the token before, of variance 1.

    What stands still (room, clothes) is not in it. The first step of a segment has no change.

    Args:
        width: Channels of its tokens.
        channels: D of the frozen tokens.
        joined: Whether the tokens are there as well, as further channels.
        options: Of `FrozenFeatures`.
    """

    def __init__(self, width: int, *, channels: int, joined: bool, **options: float) -> None:
        super().__init__(width, channels=channels * (1 + joined), **options)
        self.joined = joined
        self.scale = nn.BatchNorm3d(channels, affine=False)

    def forward(self, video: Tensor) -> Encoded:
        change = self.scale(F.pad(video.diff(dim=2).abs(), (0, 0, 0, 0, 1, 0)))
        return super().forward(torch.cat([video, change], dim=1) if self.joined else change)


VARIANTS: dict[str, tuple[Callable[..., FrozenFeatures] | None, list[str]]] = {
    PRESENT: (None, []),
    "no mixing": (partial(Mixed, mixing=lambda width: Nothing()), []),
    "all channels": (
        partial(Mixed, mixing=lambda width: conv_block_3d(width, width, (3, 1, 1), (1, 1, 1))),
        [],
    ),
    "two layers of five": (partial(Mixed, mixing=TwoLayers), []),
    "differences joined": (partial(Differences, joined=True), []),
    "differences alone": (partial(Differences, joined=False), []),
    "every sample": (None, ["features.every=1"]),
}


def settings(arm: str, cohort: int, seed: int, words: Sequence[str]) -> Config:
    """Returns the settings of a training."""
    common = ["backbone=lite0", "debug=quick", "data.synthetic.truth='null'"]
    own = [f"experiment={arm}", f"data.synthetic.seed={cohort}", f"seed={seed}"]
    return compose_settings([*common, *own, *words])


@lru_cache(maxsize=6)
def prepared_cohort(cohort: int, words: tuple[str, ...], workers: int) -> PreparedStudy:
    """Makes, decodes and encodes a cohort, as far as that is not done."""
    config = settings("B0", cohort, 0, words)
    prepared = prepare_study(config.data, open_study(config.data), workers=workers)
    return with_tokens(config, prepared, workers=workers)


def train(config: Config, prepared: PreparedStudy, fold: int, variant: str) -> pd.DataFrame:
    """Trains a variant; returns its validation patients as `by_patient` does."""
    plan = split_plan(config, prepared.study)
    batches = fold_data(config, prepare_fold(config, prepared, plan.folds[fold]))
    module = build_module(config, prepared)
    if encoder := VARIANTS[variant][0]:
        built = encoder_arguments(config, prepared.encoder)
        module.model.video_encoder = encoder(built["backbone_width"], **built["backbone_options"])
        channels_last(module.model)
    fitted = silent_trainer(config, enable_checkpointing=False, limit_val_batches=0)
    fitted.fit(module, datamodule=batches)
    judge = silent_trainer(config, enable_checkpointing=False)
    judge.validate(module, datamodule=batches, verbose=False)
    return by_patient(module.tables["val"], prepared.study.classes)


def by_patient(table: dict, classes: tuple[str, ...]) -> pd.DataFrame:
    """Averages the segments of a clip, then the clips of a patient, who has one class here.

    Returns:
        A row a patient: its label, and the probability of each class under its name.
    """
    probs = pd.DataFrame(table[PROBS], columns=list(classes))
    label = pd.Series(table[keys.LABEL], name="label").map(dict(enumerate(classes)))
    clips = probs.groupby([table[keys.PATIENT], label, table[keys.CLIP_ROW]]).mean()
    return clips.groupby(level=[0, 1]).mean().reset_index(level=1)


def scored(patients: pd.DataFrame) -> pd.Series:
    """Scores the validation patients of one training."""
    label, probs = patients["label"], patients.drop(columns="label")
    probs = probs.div(probs.sum(axis=1), axis=0)  # of float32
    said = probs.idxmax(axis=1)
    return pd.Series(
        {
            "balanced accuracy": balanced_accuracy_score(label, said),
            **{
                f"recall, {kind}": recall_score(label, said, labels=signs, average="macro")
                for kind, signs in KINDS.items()
            },
            "log loss": log_loss(label, probs[sorted(probs)], labels=sorted(probs)),
        }
    )


def gains(scores: pd.DataFrame) -> pd.DataFrame:
    """Compares each variant with `PRESENT`, unit by unit.

    Args:
        scores: Of one arm, indexed by variant, cohort, fold and seed.

    Returns:
        By variant: mean and standard error over units of the gain in each score.
    """
    runs = scores.reset_index("variant")
    present = runs[runs["variant"] == PRESENT].drop(columns="variant")
    found = {}
    for variant, own in runs[runs["variant"] != PRESENT].groupby("variant"):
        paired = (own.drop(columns="variant") - present).dropna().groupby(UNIT).mean()
        found[variant] = pd.concat({"mean": paired.mean(), "se": paired.sem()}, axis=1).stack()
    return pd.DataFrame(found).T


def passes(gain: pd.Series) -> bool:
    """Whether the gain of a variant meets the rule for becoming a setting."""
    mean, error = gain["balanced accuracy", "mean"], gain["balanced accuracy", "se"]
    return bool(mean > LEAST_GAIN and mean > ERRORS * error and gain["log loss", "mean"] <= 0)


def report(scores: pd.DataFrame) -> str:
    """Returns the table: mean ± sd over training seeds, and gain ± standard error over units."""
    found = gains(scores)
    lines = [
        f"| variant | {' | '.join(f'{name} | gain' for name in scores)} | units | passes |",
        "|---" * (2 * len(scores.columns) + 3) + "|",
    ]
    for variant in [name for name in VARIANTS if name in scores.index.unique("variant")]:
        own = scores.xs(variant, level="variant")
        by_seed = own.groupby("seed").mean()
        cells, told = [], "-"
        for name in scores:
            cells += [_spread(by_seed[name].mean(), by_seed[name].std(), "")]
            cells += ["-" if variant == PRESENT else _spread(*found.loc[variant, name], "+")]
        if variant != PRESENT:
            told = "yes" if passes(found.loc[variant]) else "no"
        units = f"{len(own.groupby(UNIT))} x {len(by_seed)}"
        lines.append(f"| {variant} | {' | '.join(cells)} | {units} | {told} |")
    return "\n".join([*lines, "", "units: folds of cohorts x training seeds"])


def _spread(mean: float, error: float, sign: str) -> str:
    return f"{mean:{sign}.3f}" + ("" if math.isnan(error) else f" ± {error:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arm", default="B0", help="one that reads the video: B0, B2, P2")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--cohorts", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1, help="processes that encode")
    options, overrides = parser.parse_known_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    scores = {}
    axes = (options.seeds, options.folds, options.cohorts, options.variants)
    for seed, fold, cohort, variant in itertools.product(*axes):
        name = (variant, cohort, fold, seed)
        file = options.folder / f"{options.arm}-{'-'.join(map(str, name)).replace(' ', '_')}.csv"
        if not file.exists():
            words = (*VARIANTS[variant][1], *overrides)
            prepared = prepared_cohort(cohort, words, options.workers)
            config = settings(options.arm, cohort, seed, words)
            patients = train(config, prepared, fold, variant)
            with atomic_file(file) as draft:
                patients.to_csv(draft, index=False)
        scores[name] = scored(pd.read_csv(file))
    print(report(pd.DataFrame(scores).T.rename_axis(RUN)))


if __name__ == "__main__":
    main()
