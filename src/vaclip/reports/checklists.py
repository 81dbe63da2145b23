"""Reporting checklists, filled with what a study knows; the rest is left to its author.

The items are data: ``templates/checklists.yaml``. `Facts` has what a study can say of itself.
"""

from __future__ import annotations

from functools import cached_property
from importlib import resources
from typing import Any, Final

import yaml

from vaclip import keys
from vaclip.errors import counted
from vaclip.evaluation.answers import Answer
from vaclip.evaluation.evaluate import Evaluation
from vaclip.evaluation.inference import Interval
from vaclip.evaluation.labels import METRICS
from vaclip.evaluation.plan import plan_sentences
from vaclip.reports.gather import Source
from vaclip.reports.typeset import NONE, Table, interval_text, markdown, number

AUTHOR: Final = "author to answer"
_INTRODUCTION: Final = """\
# Reporting checklists

Items bear the numbers of the papers, which have the full text; the words here are short ones of
our own. The third column is what the files of this study hold. It seldom answers an item alone, and
judges nothing.
"""
_UNTRAINED: Final = ("3dcnn", "2dcnn", "cnn_lstm")
_HEADLINES: Final = ("acc_macro", "auroc_macro", "brier")


def checklist(source: Source, results: Evaluation) -> str:
    """Returns the checklists in Markdown; no fact stands in them that the study does not hold."""
    facts = Facts(source, results)
    tables = [
        Table(
            name=each["name"],
            caption=each["title"],
            columns=("Item", "What", "From this study"),
            rows=tuple((item, words, facts.told(*names)) for item, words, *names in each["items"]),
        )
        for each in checklists()
    ]
    return f"{_INTRODUCTION}\n{markdown(tables)}"


def checklists() -> list[dict[str, Any]]:
    """Returns each checklist: ``name``, ``title``, ``items`` as [number, words, fact, ...]."""
    file = resources.files("vaclip.reports") / "templates" / "checklists.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


class Facts:
    """What a study knows of itself: a sentence a method, None where it does not know."""

    def __init__(self, source: Source, results: Evaluation) -> None:
        self._source, self._results, self._card = source, results, source.data_card

    def told(self, *names: str) -> str:
        """Returns facts by their names, a line each, or that only the author knows."""
        found = (getattr(self, name)() for name in names)
        return "\n".join(f if f[-1] in ".?" else f"{f}." for f in found if f) or AUTHOR

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return yaml.safe_load(self._source.config) if self._source.config else {}

    def _set(self, *names: str) -> list[Any] | None:
        """Returns settings by their dotted names; None unless all are there."""
        found = []
        for name in names:
            value: Any = self._settings
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            found.append(value)
        return None if None in found else found

    def _models(self) -> tuple[int, int]:
        """Returns how many folds and seeds were tested."""
        jobs = set().union(*self._source.predictions.jobs.values())
        return len({fold for fold, _ in jobs}), len({seed for _, seed in jobs})

    # --- the data ---------------------------------------------------------------------------

    def data_source(self) -> str | None:
        """Name and hash; whether the patients are simulated."""
        if self._card is None:
            return None
        told = f"Study {self._card.name}, content hash {self._card.content_hash[:12]}"
        simulated = self._set("data.source") == ["synthetic_gait"]
        return f"{told}; generated: its patients are simulated" if simulated else told

    def per_class(self) -> str | None:
        """Patients and clips of each class."""
        if self._card is None:
            return None
        return "; ".join(
            f"{c.class_}: {counted(c.patients, 'patient')}, {counted(c.clips, 'clip')}"
            for c in self._card.per_class
        )

    def flow(self) -> str | None:
        """Who was there, left out, tested."""
        if (card := self._card) is None:
            return None
        tested = self._source.predictions.clips[keys.PRED_PATIENT].nunique()
        return (
            f"{counted(card.patients, 'patient')} with {counted(card.clips, 'clip')}; "
            f"{counted(len(card.excluded), 'clip')} excluded before; "
            f"{counted(tested, 'patient')} tested"
        )

    def sample_size(self) -> str | None:
        """How many patients, and of the smallest class."""
        if self._card is None:
            return None
        least = min(self._card.per_class, key=lambda c: c.patients)
        return (
            f"{counted(self._card.patients, 'patient')}; the smallest class, {least.class_}, "
            f"has {least.patients}"
        )

    def tested(self) -> str:
        """Patients tested, by class."""
        rows = self._source.predictions.clips.drop_duplicates([keys.PRED_PATIENT, keys.PRED_LABEL])
        classes = enumerate(self._source.predictions.classes)
        counts = (f"{name} {(rows[keys.PRED_LABEL] == label).sum()}" for label, name in classes)
        return f"Patients tested: {', '.join(counts)}"

    def missing(self) -> str | None:
        """Maps, clips and jobs that are not there."""
        if self._card is None:
            return None
        told = [
            f"Clips without a map: {self._card.clips_without_map}, which take part without one",
            f"clips excluded: {len(self._card.excluded)}",
        ]
        if self._source.jobs is not None:
            told.append(f"planned tests not done: {(self._source.jobs['state'] != 'done').sum()}")
        return "; ".join(told)

    def clip_length(self) -> str | None:
        """How long the videos are."""
        return f"Length of a clip: {self._card.clip_seconds}" if self._card else None

    def classes(self) -> str:
        """What is diagnosed."""
        return f"The class of a patient's clip: {', '.join(self._source.predictions.classes)}"

    def predictors(self) -> str | None:
        """What a model sees."""
        if self._card is None:
            return None
        return f"The video; attention maps of annotators ({self._card.distinct_maps} distinct ones)"

    def annotators(self) -> str | None:
        """Who drew maps of how many clips."""
        if self._card is None or not self._card.annotators:
            return None
        each = (f"{a.annotator} ({counted(a.clips, 'clip')})" for a in self._card.annotators)
        return f"Attention maps by {', '.join(each)}"

    def blinding(self) -> str | None:
        """What the annotators knew."""
        if self._card is None or self._card.blinding.blinded is None:
            return None
        return f"Annotators of the maps blinded to the diagnosis: {self._card.blinding}"

    def agreement(self) -> str | None:
        """How far annotators agree."""
        if self._card is None or not self._card.agreement:
            return None
        return "Maps: " + "; ".join(
            f"{pair.first} and {pair.second} on {counted(pair.clips, 'clip')}, "
            f"CC {number(pair.cc_mean)}, SIM {number(pair.sim_mean)}"
            for pair in self._card.agreement
        )

    def findings(self) -> str | None:
        """What the data card's checks found."""
        if self._card is None:
            return None
        found = ", ".join(f"{f.subject} ({f.severity})" for f in self._card.findings)
        return f"Checks of the data found: {found or 'nothing'}"

    # --- the models -------------------------------------------------------------------------

    def preprocessing(self) -> str | None:
        """How videos are sampled."""
        if not (found := self._set("data.fps", "data.size", "data.frames")):
            return None
        fps, (height, width), frames = found
        return (
            f"Every video is sampled {fps:g} times a second at {height} x {width} pixels and cut "
            f"into segments of {frames} samples"
        )

    def partition(self) -> str | None:
        """How patients are dealt."""
        if not (planned := self._set("split.folds")):
            return None
        folds, seeds = self._models()
        by = self._set("split.by") == ["site"]
        how = "leaving one site out at a time" if by else "by patient"
        return (
            f"Nested cross-validation {how}: {folds} of {planned[0]} folds tested, "
            f"{counted(seeds, 'seed')}; in each, the patients who are not tested are trained on "
            "or validate"
        )

    def disjoint(self) -> str | None:
        """At which level partitions are apart."""
        told = "Patient: none is in two of training, validation and test of a fold"
        return told if self._set("split.folds") else None

    def model(self) -> str | None:
        """Encoder and arms."""
        names = ("clip_backbone", "backbone_width", "clip_feature_dim", "clip_embed_dim")
        if not (found := self._set(*(f"model.{name}" for name in names))):
            return None
        backbone, width, features, embedding = found
        arms = ", ".join(f"{a.arm} ({a.method})" for a in self._source.arms if a.method)
        return (
            f"Video encoder {backbone}, width {width}, features {features}, embedding {embedding}. "
            f"Arms: {arms or ', '.join(self._source.scored)}"
        )

    def initialisation(self) -> str | None:
        """Where the first parameters come from."""
        backbone = self._set("model.clip_backbone")
        known = backbone is not None and backbone[0] in _UNTRAINED
        return "Random, from the seed; no pretrained weights" if known else None

    def training(self) -> str | None:
        """Optimiser and its settings."""
        names = ("optim.lr", "optim.weight_decay", "trainer.max_epochs", "data.batch_size")
        found = self._set(*names, "data.augment.enabled")
        if not found:
            return None
        rate, decay, epochs, batch, augmented = found
        return (
            f"AdamW, learning rate {rate:g}, weight decay {decay:g}, {epochs} epochs, batches of "
            f"{batch} segments, augmentation {'on' if augmented else 'off'}"
        )

    def selection(self) -> str | None:
        """Who chooses a checkpoint."""
        told = "Each fold trains anew, and its validation patients alone choose the checkpoint"
        return told if self._set("split.folds") else None

    def imbalance(self) -> str | None:
        """What is done about unequal classes."""
        told = (
            "No method: the loss does not weigh classes, and no segment is drawn twice in an epoch"
        )
        return told if self._set("split.folds") else None

    def output(self) -> str:
        """What a diagnosis is."""
        return (
            "One probability a class, the mean over a patient's clips; the diagnosis is the class "
            "with the largest"
        )

    def software(self) -> str | None:
        """Versions."""
        if not (environment := self._source.environment):
            return None
        packages = environment.get("packages") or {}
        versions = {"Python": environment.get("python")}
        versions |= {name: packages.get(name) for name in ("vaclip", "torch", "lightning")}
        versions["revision"] = (environment.get("git") or {}).get("revision")
        told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        return told + "; all of them: report.html, Settings and versions" if told else None

    # --- the evaluation ---------------------------------------------------------------------

    def questions(self) -> str | None:
        """What the verdict was asked."""
        asked = [q.asks for q in self._results.verdict.questions if q.answer != Answer.NOT_ASKED]
        return " ".join(asked) or None

    def plan(self) -> str | None:
        """Whether it was written down beforehand."""
        if self._source.plans is None:
            return None
        return " ".join(plan_sentences(self._source.plans, self._results.roles))

    def metrics(self) -> str:
        """What was measured."""
        first = next(iter(self._results.scores["patient"].values()))
        names = (label for name, label in METRICS.items() if name in first.scores)
        return f"Per patient and per clip: {', '.join(names)}; plots in report.html"

    def uncertainty(self) -> str:
        """What intervals and tests are of."""
        told = (
            "95% intervals of the training procedure on a cohort of this size; t tests, corrected "
            "by Holm within families of contrasts"
        )
        roles = self._results.roles
        return f"{told}; a difference below {roles.margin:g} counts as none" if roles else told

    def performance(self) -> str:
        """Scores of baseline and method, or of all arms."""
        roles, scores = self._results.roles, self._results.scores["patient"]
        named = [arm for arm in (roles.baseline, roles.method) if arm in scores] if roles else []
        return "; ".join(f"{arm}: {self._scored(arm)}" for arm in named or scores)

    def _scored(self, arm: str) -> str:
        found = self._results.scores["patient"][arm].scores
        return ", ".join(
            f"{METRICS[name]} {number(found[name].mean)}{_between(found[name].interval)}"
            for name in _HEADLINES
        )

    def comparison(self) -> str | None:
        """Differences of the primary contrasts."""
        told = "; ".join(
            f"{c.first} against {c.second} {number(c.difference, sign=True)}"
            f"{_between(c.interval, sign=True)}"
            for c in self._results.families["primary"]
        )
        return f"Differences in balanced accuracy: {told}" if told else None

    def robustness(self) -> str | None:
        """What was varied."""
        varied = {
            "noise of the maps at test": list(self._results.noise),
            "fewer training patients": list(self._results.learning),
            "one annotator's maps in training, another's at test": list(self._results.annotators),
        }
        told = "; ".join(f"{what}: {', '.join(on)}" for what, on in varied.items() if on)
        return told[:1].upper() + told[1:] if told else None

    def explanation(self) -> str | None:
        """What is shown of a model's gate."""
        if not (gallery := self._source.gallery):
            return None
        return f"Cases of {gallery['arm']} with the clinician's map and the model's gate"

    def internal(self) -> str | None:
        """Whom the scores are of."""
        told = (
            "All scores are of patients of this study whom the model was neither trained nor "
            "chosen on"
        )
        return told if self._set("split.folds") else None

    def failures(self) -> str:
        """Where errors are shown."""
        cases = " and cases" if self._source.gallery else ""
        return f"Confusion matrices{cases} in report.html"

    def map_at_test(self) -> str | None:
        """Which arm needs no map."""
        bedside = self._results.roles.bedside if self._results.roles else None
        known = bedside in self._source.predictions.jobs
        return f"{bedside} is tested without maps" if known else None


def _between(interval: Interval, *, sign: bool = False) -> str:
    """An interval in brackets; nothing where there is none."""
    told = interval_text(interval, sign=sign)
    return "" if told == NONE else f" ({told})"
