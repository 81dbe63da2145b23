"""The data card: what a study is made of, and what will mislead it.

`vaclip.audit` makes it, ``data_card.json`` keeps it, reports and the terminal show it. A number
that is undefined is NaN here, and null in the file.
"""

from __future__ import annotations

import html
import math
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vaclip.errors import VaclipError
from vaclip.keys import NOT_RECORDED, Blinding


@dataclass(frozen=True)
class ClassCount:
    """Patients and clips of a class; a patient with clips of two classes counts in both."""

    class_: str
    patients: int
    clips: int


@dataclass(frozen=True)
class AnnotatorCount:
    """How many clips an annotator annotated."""

    annotator: str
    clips: int


@dataclass(frozen=True)
class ClipSeconds:
    """How long clips last, to one sample."""

    min: float
    median: float
    max: float

    def __str__(self) -> str:
        return f"{self.min:.1f} to {self.max:.1f} s, median {self.median:.1f} s"


@dataclass(frozen=True)
class ExcludedClip:
    """A clip that is left out, and why."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class Agreement:
    """How far two annotators agree on the clips that both annotated.

    Attributes:
        first: An annotator.
        second: Another.
        clips: That both annotated.
        exact: Share of them with exactly the same set of annotations.
        kappa: Cohen's, of the sets of annotations; undefined for drawings and gaze.
        cc_mean: Mean over clips of the Pearson correlation of the two maps.
        cc_sd: Its standard deviation, with n - 1.
        sim_mean: Mean over clips of the histogram intersection of the two maps.
        sim_sd: Its standard deviation, with n - 1.
        cc_chance: Mean correlation with the other's maps of other patients.
        sim_chance: Mean intersection likewise.
    """

    first: str
    second: str
    clips: int
    exact: float
    kappa: float
    cc_mean: float
    cc_sd: float
    sim_mean: float
    sim_sd: float
    cc_chance: float = math.nan
    sim_chance: float = math.nan


@dataclass(frozen=True)
class Reader:
    """How an annotator worked on the page of `vaclip annotate`.

    Attributes:
        annotator: Who.
        clips: That they saved, those shown twice counted once.
        seconds: That they looked at a clip the first time, the median.
        again: How they agree with themself, on the clips that they marked twice; ``second`` is
            ``first`` again.
        patients: Whose diagnosis they said.
        accuracy: Balanced, per patient; undefined where the diagnosis was not asked.
        low: Of its 95 % interval, on new patients like these.
        high: Likewise.
    """

    annotator: str
    clips: int
    seconds: float
    again: Agreement
    patients: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class JointAgreement:
    """Fleiss' kappa on the clips that everyone annotated; undefined for fewer than three."""

    clips: int
    fleiss_kappa: float


@dataclass(frozen=True)
class Finding:
    """Something to know of a study before a number of it is believed.

    Attributes:
        severity: An ``error``: the study cannot be run like this; a ``warning``: its numbers will
            mislead; a ``note``: worth knowing.
        subject: What it is about.
        what: What was found. Ids of patients and clips stand beside it, never in it.
        advice: What to do.
        clips: Ids of the clips that it is about, where it is about some.
        patients: Ids of the patients likewise.
    """

    severity: Literal["error", "warning", "note"]
    subject: str
    what: str
    advice: str
    clips: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """How well patients' labels are predicted by a feature that is not the video.

    Attributes:
        feature: Its name.
        score: Balanced accuracy of patients who were not trained on; chance is 1 / classes.
        p: Share of permutations of the labels between patients that score as well.
        p_adjusted: Share of them in which the best of the features does: the p value that knows
            that many features were tried.
    """

    feature: str
    score: float
    p: float
    p_adjusted: float


@dataclass(frozen=True)
class Shortcuts:
    """What tells the class without the video.

    Attributes:
        scores: Of metadata, of annotations and, last, of drawn maps, families apart.
        chance: Of a score.
        permutations: Behind each p value.
        left_out: Columns whose values nearly all differ.
        why_none: Why there are no scores, where there are none.
    """

    scores: tuple[Score, ...] = ()
    chance: float = math.nan
    permutations: int = 0
    left_out: tuple[str, ...] = ()
    why_none: str = ""


@dataclass(frozen=True, repr=False)
class DataCard:
    """What a study is made of, and what will mislead it.

    Counts of annotators and their agreement are of everyone who annotated it; ``distinct_maps``,
    ``clips_without_map``, ``samples_under_map`` (a share, of the samples of clips with a map) and
    ``content_hash`` are of the maps that the settings make.
    """

    name: str
    classes: tuple[str, ...]
    patients: int
    clips: int
    per_class: tuple[ClassCount, ...]
    annotators: tuple[AnnotatorCount, ...]
    distinct_maps: int
    clips_without_map: int
    clip_seconds: ClipSeconds
    excluded: tuple[ExcludedClip, ...]
    agreement: tuple[Agreement, ...]
    joint_agreement: JointAgreement
    content_hash: str
    findings: tuple[Finding, ...]
    """The gravest first."""
    shortcuts: Shortcuts = field(default_factory=Shortcuts)
    samples_under_map: float = math.nan
    blinding: Blinding = NOT_RECORDED
    readers: tuple[Reader, ...] = ()
    """Of annotation_log.csv."""

    def __repr__(self) -> str:
        counts = f"{self.patients} patients, {self.clips} clips, {len(self.classes)} classes"
        return f"<DataCard of {self.name}: {counts}, {len(self.findings)} finding(s)>"

    def _repr_html_(self) -> str:
        rows = (
            "".join(f"<td>{html.escape(text)}</td>" for text in (f.severity, f.what, f.advice))
            for f in self.findings
        )
        table = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<p>{html.escape(repr(self))}</p><table>{table}</table>"

    def to_json(self) -> dict[str, Any]:
        """Returns the content of ``data_card.json``, for `vaclip.files.write_json`."""
        return asdict(self, dict_factory=lambda items: {_key(name): v for name, v in items})

    @classmethod
    def from_json(cls, content: Any) -> DataCard:
        """Reads the content of ``data_card.json``.

        Raises:
            VaclipError: Naming the part and the fields that are missing.
        """
        return _read(cls, content, "")


def _key(name: str) -> str:
    """``class`` is no name in Python."""
    return name.removesuffix("_")


def _read(kind: Any, content: Any, where: str) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(content, list):
            raise VaclipError(f"{where}: expected a list")
        return tuple(_read(get_args(kind)[0], item, where) for item in content)
    if not is_dataclass(kind):
        return math.nan if kind is float and content is None else content
    told = f"{where}: " if where else ""
    if not isinstance(content, dict):
        raise VaclipError(f"{told}expected an object")
    required = [f for f in fields(kind) if f.default is f.default_factory is MISSING]
    if missing := [key for f in required if (key := _key(f.name)) not in content]:
        raise VaclipError(f"{told}fields {missing} are missing")
    kinds = {_key(name): (name, own) for name, own in get_type_hints(kind).items()}
    inner = f"{where}." if where else ""
    return kind(
        **{
            name: _read(own, content[key], inner + key)
            for key, (name, own) in kinds.items()
            if key in content
        }
    )
