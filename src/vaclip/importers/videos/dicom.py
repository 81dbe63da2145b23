"""``dicom``: cines as an archive hands them over, made into videos of nothing but pictures.

A file with several pictures becomes a clip, on request a series of files with one each too; other
still pictures and files of other kinds are left out and counted. Nothing of a header that names
somebody is written, shown or kept: a patient's id becomes a pseudonym, of the date the month stays,
and files get new names.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.base import Export, Importer, NewClip
from vaclip.importers.reading import files_below, read_table
from vaclip.importers.tables.table import renamed_labels
from vaclip.importers.videos.dicom_pictures import cine_pictures
from vaclip.importers.videos.dicom_read import Cine, Still, is_dicom, read_cine
from vaclip.importers.videos.dicom_series import series_cine
from vaclip.importers.videos.recording import Recording, even_seconds

_KEY_BYTES = 32


class DicomImporter(Importer):
    """Reads multi-frame DICOM files."""

    summary = (
        "DICOM cines (ultrasound, endoscopy, XA, secondary capture), as videos without a header"
    )

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument_group("what DICOM does not say").add_argument
        add("--labels", type=Path, metavar="TABLE",
            help="the diagnoses: the columns label, and file (below SOURCE) or patient_id (as "
            "DICOM has it)")  # fmt: skip
        add("--label", metavar="NAME", help="the diagnosis of all of them")
        add("--label-from-folder", action="store_true",
            help="the diagnosis is the name of the folder that a file lies in")  # fmt: skip
        add = parser.add_argument_group("pictures and people").add_argument
        add("--crop-to-region", action="store_true",
            help="of ultrasound: only the largest picture that the file marks, without the screen "
            "around it")  # fmt: skip
        add("--series-as-cine", action="store_true",
            help="the single pictures of one series, in their order, are a cine too")  # fmt: skip
        add("--patient-ids", action="store_true", help="keep the patients' ids as they are")
        add("--key", type=Path, metavar="FILE",
            help="what pseudonyms are made with; made if need be (default: STUDY.key, beside the "
            "study)")  # fmt: skip

    def read(self, sources: Sequence[Path], options: argparse.Namespace) -> Export:
        found, left_out = _cines(sources, series=options.series_as_cine)
        labels = _Labels(options)
        people = _People(options)
        clips, unlabelled, wrong = [], [], []
        for root, cine in found:
            name = cine.path.relative_to(root).as_posix()
            if not cine.patient:
                wrong.append(f"{name}: names no patient (PatientID)")
            elif not (seconds := cine.seconds) and options.fps is None:
                wrong.append(f"{name}: states no time of its pictures; give --fps")
            elif (label := labels.find(name, cine)) is None:
                unlabelled.append(name)
            else:
                seconds = seconds or even_seconds(options.fps, cine.frames)
                clips.append(_clip(cine, name, label, seconds, people, options))
        if unlabelled and not options.skip_unmatched:
            listed = ", ".join(unlabelled[:5])
            wrong.append(
                f"{len(unlabelled)} cine(s) have no label ({listed}): see --labels, or leave them "
                "out with --skip-unmatched"
            )
        if wrong:
            raise VaclipError("these cines cannot be taken:\n  " + "\n  ".join(wrong))
        left_out["without a label"] += len(unlabelled)
        dropped = [f"{count} file(s): {what}" for what, count in sorted(left_out.items()) if count]
        return Export(
            clips=tuple(clips), dropped=tuple(dropped), notes=tuple(_notes(found, options))
        )


def _cines(
    sources: Sequence[Path], *, series: bool
) -> tuple[list[tuple[Path, Cine]], Counter[str]]:
    """Returns cines with the folder that their names are relative to, and counts all else."""
    found: list[tuple[Path, Cine]] = []
    stills: dict[str, list[tuple[Path, Still]]] = {}
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    for root, path in _files(sources):
        if not is_dicom(path):
            left_out["no DICOM"] += 1
            continue
        file = read_cine(path)
        if isinstance(file, str):
            left_out[file] += 1
            continue
        if file.uid in seen:
            left_out[f"the same {'cine' if isinstance(file, Cine) else 'picture'} again"] += 1
        elif isinstance(file, Cine):
            found.append((root, file))
        else:
            stills.setdefault(file.series, []).append((root, file))
        seen.add(file.uid)
    for several in stills.values():
        made = series_cine([still for _, still in several]) if series else _left(several)
        if isinstance(made, Cine):
            roots = {still.path: root for root, still in several}
            found.append((roots[made.path], made))
        else:
            left_out[made] += len(several)
    if not found:
        told = ", ".join(f"{count} {what}" for what, count in sorted(left_out.items()))
        raise VaclipError(f"there is no DICOM cine in {sources[0].name} ({told or 'no file'})")
    return found, left_out


def _left(stills: Sequence[tuple[Path, Still]]) -> str:
    if len(stills) < 2 or not stills[0][1].series:
        return "a still picture"
    return "a still picture of a series (--series-as-cine makes one cine of each series)"


def _files(sources: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Yields each file, in order, with its folder; a DICOMDIR stands for the folder it lies in."""
    for source in sources:
        if source.is_file() and source.name.upper() != "DICOMDIR":
            yield source.parent, source
            continue
        root = source if source.is_dir() else source.parent
        if not root.is_dir() or not source.exists():
            raise VaclipError(f"there is no file or folder '{source}'")
        for path in sorted(files_below(root)):
            yield root, path


class _Labels:
    """The diagnosis of each cine."""

    def __init__(self, options: argparse.Namespace) -> None:
        given = [options.labels, options.label, options.label_from_folder or None]
        if sum(one is not None for one in given) != 1:
            raise VaclipError(
                "DICOM has no diagnosis: give one of --labels TABLE, --label NAME and "
                "--label-from-folder"
            )
        self._options = options
        self._renamed = renamed_labels(options)
        self._by: dict[str, str] = {}
        self._key = "file"
        if options.labels is None:
            return
        table = read_table(options.labels, encoding=options.encoding, sheet=options.sheet)
        table.require("label")
        if "file" not in table.header:
            table.require("patient_id")
            self._key = "patient_id"
        for number, row in table.rows:
            if self._by.setdefault(row[self._key], row["label"]) != row["label"]:
                raise VaclipError(f"{options.labels.name}:{number}: another label for the same one")

    def find(self, name: str, cine: Cine) -> str | None:
        if self._options.label_from_folder:
            found = cine.path.parent.name
        elif self._options.label is not None:
            found = self._options.label
        else:
            found = self._by.get(name if self._key == "file" else cine.patient, "")
        return self._renamed.get(found, found) or None


class _People:
    """Makes pseudonyms: the same for the same id and key, and without the key nobody's."""

    def __init__(self, options: argparse.Namespace) -> None:
        path = options.key or options.into.parent / f"{options.into.name}.key"
        self._keep = options.patient_ids
        self._secret = _secret(path, make=not options.dry_run)

    def patient(self, cine: Cine) -> str:
        return cine.patient if self._keep else f"P{self._short(cine.patient)}"

    def clip(self, cine: Cine) -> str:
        return f"{self.patient(cine)}_{self._short(cine.uid)}"

    def file(self, cine: Cine) -> str:
        return f"C{self._short(cine.uid)}"

    def _short(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:10]


def _secret(path: Path, *, make: bool) -> bytes:
    if path.exists():
        try:
            secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except ValueError as error:
            raise VaclipError(f"{path.name}: is no key of pseudonyms") from error
        if len(secret) < _KEY_BYTES:
            raise VaclipError(f"{path.name}: is no key of pseudonyms")
        return secret
    secret = secrets.token_bytes(_KEY_BYTES)
    if make:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{secret.hex()}\n")
    return secret


def _clip(
    cine: Cine,
    name: str,
    label: str,
    seconds: tuple[float, ...],
    people: _People,
    options: argparse.Namespace,
) -> NewClip:
    region = cine.region if options.crop_to_region else None
    clip_id = people.clip(cine)
    recording = Recording(name, partial(_cropped, cine, region), seconds)
    extra = {
        "modality": cine.modality, "device": cine.device, "study_month": cine.month,
        "pixel_mm": cine.spacing_mm,
    }  # fmt: skip
    file = f"{people.file(cine)}{'-region' if region else ''}.mp4"
    patient = people.patient(cine)
    return NewClip(clip_id, cine.path, file, patient, label, name, extra=extra, recording=recording)


def _cropped(cine: Cine, region: tuple[int, int, int, int] | None) -> Iterator[NDArray[np.uint8]]:
    x0, y0, x1, y1 = region or (0, 0, cine.size[1], cine.size[0])
    for picture in cine_pictures(cine):
        if picture.shape[:2] != cine.size:
            raise VaclipError(
                f"{cine.path.name}: states pictures of {cine.size[1]} x {cine.size[0]}, but one "
                f"has {picture.shape[1]} x {picture.shape[0]}"
            )
        yield picture[y0:y1, x0:x1]


def _notes(found: Sequence[tuple[Path, Cine]], options: argparse.Namespace) -> list[str]:
    burned = [cine.path.name for _, cine in found if cine.burned_in == "YES"]
    silent = sum(not cine.burned_in for _, cine in found)
    whole = [cine.path.name for _, cine in found if options.crop_to_region and not cine.region]
    notes = []
    if whole:
        notes.append(
            f"{len(whole)} file(s) mark no region, so that --crop-to-region keeps their whole "
            f"screen: {', '.join(whole[:5])}"
        )
    gaps = [f"{cine.path.name} ({cine.missing})" for _, cine in found if cine.missing]
    if gaps:
        notes.append(
            f"{len(gaps)} series leave out numbers, so that pictures may be missing in between: "
            f"{', '.join(gaps[:5])}"
        )
    if overlaid := [cine.path.name for _, cine in found if cine.overlays]:
        notes.append(
            f"{len(overlaid)} file(s) have overlays, graphics or text over the pictures, which are "
            f"not drawn: {', '.join(overlaid[:5])}"
        )
    if burned:
        notes.append(
            f"{len(burned)} file(s) say that names may stand in their pictures "
            f"(BurnedInAnnotation): {', '.join(burned[:5])}"
        )
    if silent:
        notes.append(
            f"{silent} file(s) do not say whether names stand in their pictures: look at some with "
            "vaclip data preview; --crop-to-region leaves out the screen around an ultrasound "
            "picture"
        )
    return notes
