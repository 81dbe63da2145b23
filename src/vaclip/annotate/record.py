"""What a session leaves in the study: drafts, annotations, annotation_log.csv, study.yaml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from filelock import FileLock

from vaclip.annotate.marks import Said
from vaclip.annotate.session import FOLDER, Session, session_folder
from vaclip.errors import VaclipError
from vaclip.files import atomic_file, read_json, write_json
from vaclip.study.annotation_log import ANNOTATION_LOG, LOG_COLUMNS
from vaclip.study.study import ANNOTATION_COLUMNS
from vaclip.study.study_yaml import read_blinding, read_head
from vaclip.study.tables import Row, read_table, write_table

_WAIT_S: Final = 60.0
_ATTENTION: Final = "attention.csv"
_LOCK: Final = ".lock"  # no annotator's name begins with a dot


@dataclass(frozen=True)
class Draft:
    """A showing as it was left.

    Attributes:
        said: As the page sent it last.
        saved: How often it was saved.
        stale: Whether something was done since it was saved.
    """

    said: dict[str, Any] = field(default_factory=dict)
    saved: int = 0
    stale: bool = False


class Record:
    """Writes what an annotator does; each file whole or not at all.

    A session is one process's (`vaclip.locks.folder_lock`); the study's tables are shared by
    those of several annotators, who wait for each other.
    """

    def __init__(self, root: Path, session: Session) -> None:
        self.root, self.session = root, session
        self.folder = session_folder(root, session.annotator)

    def draft(self, number: int) -> Draft:
        """Returns how a showing was left.

        Args:
            number: Which, from 1.

        Raises:
            VaclipError: If its file is damaged.
        """
        path = self._path(number)
        if not path.is_file():
            return Draft()
        try:
            return Draft(**read_json(path, f"{FOLDER}/{self.folder.name}/{path.name}"))
        except TypeError as error:
            raise VaclipError(f"{FOLDER}/{self.folder.name}/{path.name} is damaged") from error

    def keep(self, number: int, said: Mapping[str, Any]) -> None:
        """Keeps what was done so far."""
        before = self.draft(number)
        write_json(self._path(number), asdict(Draft(dict(said), before.saved, stale=True)))

    def save(
        self, number: int, content: Mapping[str, Any], said: Said, made: Sequence[tuple[str, Any]]
    ) -> None:
        """Saves a showing: its files first, then the tables; what it left before is replaced.

        Args:
            number: Which, from 1.
            content: As the page sent it.
            said: The same, as it was read.
            made: Its annotations, as `vaclip.annotate.marks.annotation_of` gives them.
        """
        showing = self.session.showings[number - 1]
        rows = [(kind, self._value(number, kind, value)) for kind, value in made]
        saved = self.draft(number).saved + 1
        with FileLock(self.root / FOLDER / _LOCK, timeout=_WAIT_S):
            if showing.time == 1:
                self._annotate(showing.clip_id, rows)
            self._log(number, said, rows, saved)
        write_json(self._path(number), asdict(Draft(dict(content), saved)))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.json"

    def _value(self, number: int, kind: str, value: Any) -> str:
        if kind == "region":
            return str(value)
        path = self.folder / f"{number:05d}.{kind}.json"
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(value) + "\n", encoding="utf-8")
        return path.relative_to(self.root).as_posix()

    def _annotate(self, clip_id: str, rows: Sequence[tuple[str, str]]) -> None:
        own = {"clip_id": clip_id, "annotator": self.session.annotator}
        new = [{**own, "kind": kind, "value": value} for kind, value in rows]
        self._put(_ATTENTION, ANNOTATION_COLUMNS, own, new)

    def _log(self, number: int, said: Said, rows: Sequence[tuple[str, str]], saved: int) -> None:
        session, showing = self.session, self.session.showings[number - 1]
        row = {
            "annotator": session.annotator,
            "number": number,
            "clip_id": showing.clip_id,
            "showing": showing.time,
            "mode": session.protocol.mode,
            "annotations": json.dumps(rows, ensure_ascii=False),
            "marks": len(said.marks),
            "regions": "; ".join(_told(mark) for mark in said.marks if "region" in mark),
            "seconds": round(said.seconds, 1),
            "diagnosis": said.diagnosis or "",
            "confidence": said.confidence or "",
            "comment": _as_text(said.comment),
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "saved": saved,
            "returned": said.returned,
        }
        own = {"annotator": session.annotator, "number": str(number)}
        self._put(ANNOTATION_LOG, LOG_COLUMNS, own, [row])

    def _put(
        self,
        name: str,
        columns: Sequence[str],
        own: Mapping[str, str],
        new: Sequence[Mapping[str, Any]],
    ) -> None:
        """Puts rows into a table of the study, in place of those with the cells of ``own``."""
        path, header, kept = self.root / name, columns, list[Row]()
        if path.exists():
            header, rows = read_table(path, columns)
            kept = [row for _, row in rows if any(row[key] != own[key] for key in own)]
        write_table(path, header, [*kept, *new])


def _told(mark: Mapping[str, Any]) -> str:
    """A region as the log tells it: its name, how sure, and from when to when."""
    span = "" if mark.get("from") is None else f", {mark['from']:.1f} to {mark['to']:.1f} s"
    return f"{mark['region']} ({mark['confidence']}{span})"


def _as_text(words: str) -> str:
    """Keeps a spreadsheet from taking words for a formula."""
    return f"'{words}" if words.startswith(("=", "+", "-", "@")) else words


def note_blinding(root: Path) -> str | None:
    """Writes into study.yaml what its annotators knew, where that holds for all of them.

    Who annotated here saw the videos alone, before any diagnosis. That is said of the study only
    where all its annotations are of such sessions, and nobody knew a patient's diagnosis already.

    Returns:
        Why study.yaml was left as it is; None where it says it, now or before.

    Raises:
        VaclipError: If study.yaml cannot be read.
    """
    with FileLock(root / FOLDER / _LOCK, timeout=_WAIT_S):
        head = read_head(root)
        stated = read_blinding(head.get("annotation"))
        own = {path.parent.name: path for path in (root / FOLDER).glob("*/session.json")}
        knew = [name for name, path in own.items() if read_json(path, name).get("knows")]
        _, rows = read_table(root / _ATTENTION) if (root / _ATTENTION).exists() else ([], ())
        others = sorted({row["annotator"] for _, row in rows} - own.keys())
        if stated.blinded is not None:
            if stated.blinded and knew:
                return f"study.yaml says blinded, but {', '.join(knew)} knew diagnoses: mend it"
            if not stated.blinded and not knew and not others:
                return "study.yaml says not blinded, but all its annotations are: mend it"
            return None
        if others:
            return f"study.yaml does not say whether {', '.join(others)} were blinded: write it"
        blinded = "false" if knew else "true"
        line = f"annotation: {{blinded: {blinded}, saw: [], when: before}}"
        text = (root / "study.yaml").read_text(encoding="utf-8").rstrip("\n") + f"\n{line}\n"
        try:  # a file in one line of {}, or one that ends in "...", takes no further line
            whole = yaml.safe_load(text) == head | yaml.safe_load(line)
        except yaml.YAMLError:
            whole = False
        if "annotation" in head or not whole:
            return f"study.yaml does not say what annotators knew; write {line}"
        with atomic_file(root / "study.yaml") as temporary:
            temporary.write_text(text, encoding="utf-8")
    return None
