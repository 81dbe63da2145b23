"""A session: what one annotator is shown, in which order, and how. Kept in the study folder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from vaclip.annotate.order import Showing, deal
from vaclip.errors import VaclipError, did_you_mean
from vaclip.files import read_json, write_json
from vaclip.study.annotation_log import ANNOTATION_LOG, read_annotation_log
from vaclip.study.study import Study

FOLDER: Final = "annotate"
MODES: Final = ("bubbles", "regions", "draw")
UNCOVER: Final = ("paused", "playing", "steps")
_NAME: Final = re.compile(r"\w[\w.-]{0,39}")
_FILE: Final = "session.json"


@dataclass(frozen=True)
class Protocol:
    """What is fixed for a session before its first clip.

    Attributes:
        mode: One of `MODES`.
        seed: Of the order.
        again: Share of the clips that are shown twice.
        diagnosis: Whether the diagnosis is asked, after the looking.
        uncover: When a press uncovers: while the clip is ``paused``, while it is ``playing``, or
            on pictures that follow each other in ``steps``.
        every_s: Seconds from one picture to the next one that is stepped to; and the part of the
            clip that a look at a standing picture stands for.
        blur: Standard deviation of the blur, in shares of the picture's shorter side.
        radius: Of a bubble, likewise.
        budget: Most bubbles of a clip; None for as many as one likes.
        speed: Of playing; 1 is as it was filmed.
    """

    mode: str = "bubbles"
    seed: int = 0
    again: float = 0.1
    diagnosis: bool = True
    uncover: str = "paused"
    every_s: float = 0.5
    blur: float = 0.05
    radius: float = 0.07
    budget: int | None = None
    speed: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (("mode", MODES), ("uncover", UNCOVER)):
            if (value := getattr(self, name)) not in allowed:
                hint = did_you_mean(str(value), allowed)
                raise VaclipError(f"--{name} is '{value}'; use one of {', '.join(allowed)}.{hint}")
        within = {
            "again": (0, 1), "every_s": (0.04, 10), "blur": (0, 0.5), "radius": (0.01, 0.5),
            "speed": (0.1, 4), "budget": (1, 10_000),
        }  # fmt: skip
        for name, (low, high) in within.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                option = name.removesuffix("_s")
                raise VaclipError(f"--{option} is {value:g}; it must be from {low} to {high}")


@dataclass(frozen=True)
class Session:
    """A session as it is kept.

    Attributes:
        annotator: Whose it is: the name in attention.csv.
        protocol: What is fixed.
        showings: What is shown, in order.
        began: When, in UTC.
        knows: Whether the annotator knows the diagnosis of a patient already; None until asked.
    """

    annotator: str
    protocol: Protocol
    showings: tuple[Showing, ...]
    began: str
    knows: bool | None = None


def session_folder(root: Path, annotator: str) -> Path:
    """Returns where an annotator's session lies in a study.

    Raises:
        VaclipError: If the name would not do as a name of a folder.
    """
    if not _NAME.fullmatch(annotator):
        raise VaclipError(
            f"--annotator is '{annotator}'; use up to 40 letters, digits, dots, - and _"
        )
    return root / FOLDER / annotator


def open_session(
    study: Study, annotator: str, wanted: Mapping[str, Any], clips: tuple[str, ...] = ()
) -> Session:
    """Returns a new session, or the one that was begun; nothing is written (`keep_session`).

    Clips that came to the study since it began are dealt after the others.

    Args:
        study: The study.
        annotator: Who.
        wanted: Fields of `Protocol` that were asked for.
        clips: Ids of the clips that are shown; empty for all.

    Raises:
        VaclipError: If something else was asked for than the session began with, if the study has
            annotations by that name already, or lacks a clip or what the mode needs.
    """
    folder = session_folder(study.root, annotator)
    patients = {clip.clip_id: clip.patient_id for clip in study.clips}
    if unknown := [name for name in clips if name not in patients]:
        raise VaclipError(f"the study has no clip {', '.join(unknown)}")
    chosen = {name: patients[name] for name in clips} if clips else patients
    if (folder / _FILE).is_file():
        return _resumed(folder, annotator, wanted, chosen)
    if annotator in study.annotators:
        raise VaclipError(
            f"attention.csv has annotations by '{annotator}' that were not made here; choose "
            "another --annotator"
        )
    if any(one.annotator == annotator for one in read_annotation_log(study.root)):
        raise VaclipError(
            f"{ANNOTATION_LOG} has rows of '{annotator}', but {FOLDER}/{annotator} is gone; take "
            "it from a backup, delete the rows, or choose another --annotator"
        )
    protocol = Protocol(**wanted)
    if protocol.mode == "regions" and not study.regions:
        raise VaclipError(
            "--mode regions needs regions; name some in study.yaml, or use --mode bubbles or draw"
        )
    order = deal(chosen, annotator, protocol.seed, protocol.again)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Session(annotator, protocol, tuple(order), now)


def _resumed(
    folder: Path, annotator: str, wanted: Mapping[str, Any], chosen: Mapping[str, str]
) -> Session:
    session = read_session(folder)
    if session.annotator != annotator:  # on a disk that takes upper and lower case for the same
        raise VaclipError(f"--annotator '{annotator}' began as '{session.annotator}': use that")
    for name, value in wanted.items():
        if value != (began := getattr(session.protocol, name)):
            option = name.removesuffix("_s")
            raise VaclipError(
                f"the session of '{annotator}' began with --{option} {began}, not {value}; leave "
                "the option out, or choose another --annotator"
            )
    seen = {one.clip_id for one in session.showings}
    new = {name: patient for name, patient in chosen.items() if name not in seen}
    protocol = session.protocol
    more = deal(new, annotator, protocol.seed, protocol.again)
    return replace(session, showings=(*session.showings, *more))


def read_session(folder: Path) -> Session:
    """Reads a session.

    Raises:
        VaclipError: If the file is damaged.
    """
    content = read_json(folder / _FILE, f"{FOLDER}/{folder.name}/{_FILE}")
    try:
        protocol = Protocol(**content["protocol"])
        showings = tuple(Showing(str(clip_id), int(time)) for clip_id, time in content["showings"])
        return Session(content["annotator"], protocol, showings, content["began"], content["knows"])
    except (TypeError, KeyError, ValueError) as error:
        raise VaclipError(
            f"{FOLDER}/{folder.name}/{_FILE} is damaged ({error}); take it from a backup"
        ) from error


def keep_session(root: Path, session: Session) -> None:
    """Writes a session."""
    content = {
        "annotator": session.annotator,
        "began": session.began,
        "knows": session.knows,
        "protocol": {one.name: getattr(session.protocol, one.name) for one in fields(Protocol)},
        "showings": [[*asdict(one).values()] for one in session.showings],
    }
    write_json(session_folder(root, session.annotator) / _FILE, content)
