"""Checks a study to the last frame: what `vaclip data check` reports."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from numpy.typing import NDArray

from vaclip.audit import pitfalls
from vaclip.audit.coverage import percent_range, sparse_maps
from vaclip.audit.inspect import VideoFacts, inspect_video, time_disagreement
from vaclip.data.sampling import SLACK_S
from vaclip.data.video import DECODE_LIMIT_S
from vaclip.errors import VaclipError, counted
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import Grid, Timing, map_source
from vaclip.study.load import read_study
from vaclip.study.study import Clip, Problem, Study
from vaclip.study.tables import write_table

if TYPE_CHECKING:
    import pandas as pd

_SIZE = (32, 32)  # enough to see that maps can be drawn
_MOST_DRAWN = 1000  # frames of a clip; maps are read whole
_SHORT_S = 0.5
_LONG_S = 10.0  # that one picture is shown
_BEYOND = 0.1  # of a video: gaze that goes on so much longer, or ends so early, is odd


@dataclass(frozen=True)
class CheckedClip:
    """A clip, its video, and what is wrong with it.

    Attributes:
        clip: The clip.
        facts: Of its whole video.
        problems: What decoding and drawing brought up.
        by_frame: Whether something about it is annotated frame by frame.
        under_map: Share of its pictures on which an annotation shows; None where there is none.
    """

    clip: Clip
    facts: VideoFacts
    problems: tuple[Problem, ...]
    by_frame: bool
    under_map: float | None = None


@dataclass(frozen=True, repr=False)
class StudyCheck:
    """Everything that a check found.

    Attributes:
        study: The study; None where it could not be read.
        found: The problems of reading and of decoding.
        clips: The clips whose video is there.
    """

    study: Study | None
    found: tuple[Problem, ...]
    clips: tuple[CheckedClip, ...]

    def __repr__(self) -> str:
        errors = len(self.errors)
        clips = counted(len(self.study.clips) if self.study else 0, "clip")
        warnings = counted(len(self.found) - errors, "warning")
        return f"StudyCheck({clips}: {counted(errors, 'error')}, {warnings})"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.problems.to_html(max_rows=20)}"

    @property
    def errors(self) -> list[Problem]:
        """The problems that make the study unusable."""
        return [problem for problem in self.found if problem.severity == "error"]

    @property
    def problems(self) -> pd.DataFrame:
        """One row a problem: ``severity``, ``where`` (file:row:column), ``what``, ``clip_id``."""
        import pandas as pd

        names = [field.name for field in fields(Problem)]
        return pd.DataFrame([astuple(problem) for problem in self.found], columns=names)

    @property
    def videos(self) -> pd.DataFrame:
        """One row a clip: what its video is, and what is wrong with it."""
        import pandas as pd

        return pd.DataFrame([_row(checked) for checked in self.clips])

    @property
    def notes(self) -> list[str]:
        """What is not wrong, but good to know."""
        by_frame = sum(checked.by_frame for checked in self.clips)
        excluded = len(self.study.excluded) if self.study else 0
        notes = []
        if by_frame:
            notes.append(
                f"{by_frame} clip(s) are annotated by frame numbers: number i, from 0, is the i-th "
                "picture that is decoded, and is shown from that picture's own time stamp on"
            )
        covers = [one.under_map for one in self.clips if one.under_map is not None]
        if covers and min(covers) < 1:
            notes.append(
                f"annotations show on {percent_range(covers)} of the pictures of an annotated "
                f"clip, {np.mean(covers):.0%} in the mean"
            )
        clips = self.study.clips if self.study else ()
        mixed = pitfalls.mixed_patients(
            (clip.patient_id, clip.session, clip.label) for clip in clips
        )
        notes += [finding.what for finding in mixed]
        notes += pitfalls.site_sizes((clip.patient_id, clip.site) for clip in clips)
        if excluded:
            notes.append(f"{excluded} clip(s) are left out by excluded.csv")
        return notes


def check(
    study: Study | str | Path,
    *,
    workers: int = -1,
    limit_s: float = DECODE_LIMIT_S,
    progress: Callable[[int, int], None] | None = None,
) -> StudyCheck:
    """Reads a study folder anew, decodes every video once and draws every map.

    Args:
        study: A study, or its folder.
        workers: Processes; -1 for one a core.
        limit_s: Seconds that the decoding of one video may take.
        progress: Called with (done, total) clips after each video.

    Examples:
        >>> check("nowhere").problems.severity.tolist()
        ['error']
    """
    root = study.root if isinstance(study, Study) else Path(study)
    read, problems = read_study(root)
    if read is None:
        return StudyCheck(None, tuple(problems), ())
    # Missing files and those outside of the folder were reported already.
    lost = {problem.clip_id for problem in problems if problem.where.endswith(":video")}
    by_video: dict[Path, list[Clip]] = {}
    for clip in read.clips:
        if clip.clip_id not in lost:
            by_video.setdefault(clip.video, []).append(clip)
    total = sum(map(len, by_video.values()))
    pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="4*n_jobs")
    jobs = (joblib.delayed(check_video)(read.only(clips), limit_s) for clips in by_video.values())
    checked: dict[str, CheckedClip] = {}
    for found in pool(jobs):
        checked |= {one.clip.clip_id: one for one in found}
        if progress:
            progress(len(checked), total)
    in_order = tuple(checked[c.clip_id] for c in read.clips if c.clip_id in checked)
    problems += [problem for one in in_order for problem in one.problems]
    problems += _sparse_maps(in_order)
    problems += [
        Problem("warning", "clips.csv:site", f"{one.subject}: {one.what}; {one.advice}")
        for one in pitfalls.sites((c.patient_id, c.site, c.label) for c in read.clips)
    ]
    return StudyCheck(read, tuple(problems), in_order)


def _sparse_maps(checked: Sequence[CheckedClip]) -> list[Problem]:
    # A clip on which nothing shows has a warning of its own.
    found = sparse_maps({one.clip.clip_id: one.under_map for one in checked if one.under_map})
    return [Problem("warning", "attention.csv", f"{one.what}; {one.advice}") for one in found]


def check_video(study: Study, limit_s: float) -> list[CheckedClip]:
    """Decodes the video that all clips share, and compares it with what is said of each."""
    facts = inspect_video(study.clips[0].video, limit_s)
    return [_check_clip(study, clip, facts) for clip in study.clips]


def _check_clip(study: Study, clip: Clip, facts: VideoFacts) -> CheckedClip:
    timings: list[Timing] = []
    shown: list[NDArray[np.bool_]] = []
    if (broken := _broken(clip, facts)) is not None:
        problems = [Problem("error", f"{clip.where}:video", broken, clip.clip_id)]
    else:
        problems = [
            Problem("warning", f"{clip.where}:video", what, clip.clip_id)
            for what in (*video_warnings(facts), *_span_warnings(clip, facts))
        ]
        stated = clip.extra.get("frames", "")
        if stated and _reaches_end(clip, facts) and not _equal(stated, facts.frames):
            what = f"states {stated} frames, but {facts.frames} can be decoded"
            problems.append(Problem("error", f"{clip.where}:frames", what, clip.clip_id))
        problems += _check_annotations(study, clip, facts, timings, shown)
        problems += [
            Problem("warning", f"{clip.where}:video", what, clip.clip_id)
            for what in _time_warnings(clip, facts, timings)
        ]
    by_frame = any(timing.unit == "frame" for timing in timings)
    under_map = float(np.any(shown, axis=0).mean()) if shown else None
    return CheckedClip(clip, facts, tuple(problems), by_frame, under_map)


def _broken(clip: Clip, facts: VideoFacts) -> str | None:
    """Returns why a clip cannot be decoded; what breaks off after its end does not count."""
    ends_before = clip.end_s is not None and clip.end_s <= facts.duration_s
    if facts.failure is not None and not ends_before:
        return facts.failure
    first, end = facts.span(clip.start_s, clip.end_s)
    if first < end:
        return None
    span = (
        f"between {clip.start_s:g} s and {'its end' if clip.end_s is None else f'{clip.end_s:g} s'}"
    )
    return f"{clip.video.name}: {facts.frames} frames, none of them {span}"


def video_warnings(facts: VideoFacts) -> list[str]:
    """Says what about a video that can be decoded may mislead."""
    rate = float(facts.rate or 0)
    stated_s = facts.duration_stated_s or 0.0
    longest = float((facts.ends_s - facts.times_s).max())
    found = {
        f"breaks off after the end of the clip: {facts.failure}": facts.failure is not None,
        f"the container states {facts.frames_stated} frames, but {facts.frames} can be decoded":
            facts.frames_stated not in (None, facts.frames) and facts.failure is None,
        f"the container states {stated_s:.2f} s, but the pictures end at {facts.duration_s:.2f} s; "
        "the file may be cut off: compare it with the original":
            stated_s - facts.duration_s > max(0.1, 2 / rate if rate else 0.0)
            and facts.failure is None,
        f"{facts.damaged} picture(s) are damaged, and were patched up": facts.damaged > 0,
        f"{facts.untimed} picture(s) have no time stamp of their own; they are taken to follow "
        f"each other at {rate:g} a second": facts.untimed > 0,
        f"one picture is shown for {longest:.1f} s; pictures may be lost": longest > _LONG_S,
        "the pictures are interlaced: moving edges look like combs; deinterlace the video":
            facts.interlaced,
        f"the pixels are {float(facts.pixel_aspect):.3g} times as wide as high; a player stretches "
        "the picture, vaclip does not: positions count stored pixels": facts.pixel_aspect != 1,
        "the video is transparent in places; the colours below are used": facts.transparent,
        f"the pictures have {facts.sizes} different sizes; each is resized by itself":
            facts.sizes > 1,
    }  # fmt: skip
    return [what for what, holds in found.items() if holds]


def _span_warnings(clip: Clip, facts: VideoFacts) -> list[str]:
    first, end = facts.span(clip.start_s, clip.end_s)
    end_s = facts.duration_s if clip.end_s is None else min(clip.end_s, facts.duration_s)
    shown_s, frame_s = end_s - clip.start_s, facts.duration_s / facts.frames
    found = []
    if end - first == 1 or shown_s < _SHORT_S:
        found.append(f"the clip has {end - first} picture(s) in {shown_s:.2f} s: too few to move")
    if clip.end_s is not None and clip.end_s > facts.duration_s + frame_s:
        found.append(f"end_s is {clip.end_s:g} s, but the video ends at {facts.duration_s:.2f} s")
    return found


def _check_annotations(
    study: Study,
    clip: Clip,
    facts: VideoFacts,
    timings: list[Timing],
    shown: list[NDArray[np.bool_]],
) -> list[Problem]:
    """Draws every annotation of a clip; puts how it counts time, and when it shows, into lists."""
    first, end = facts.span(clip.start_s, clip.end_s)
    drawn = np.unique(np.linspace(first, end - 1, min(end - first, _MOST_DRAWN)).round())
    drawn = drawn.astype(np.int64)
    grid = Grid(
        frame_index=drawn,
        time_s=facts.times_s[drawn],
        sample_s=facts.duration_s / facts.frames,
        frame_count=end,
        whole_video=_reaches_end(clip, facts),
        source_size=facts.size,
        size=_SIZE,
    )
    problems = []
    if clip.keypoints is not None and clip.keypoints.is_file():
        try:
            grid.check_length(len(load_keypoints(clip.keypoints)), clip.keypoints.name)
        except VaclipError as failure:
            return [Problem("error", f"{clip.where}:keypoints", str(failure), clip.clip_id)]
        timings.append(Timing("frame"))
    annotated = study.annotated(clip)
    for annotation in study.annotations.get(clip.clip_id, ()):
        source = map_source(annotation.kind)
        where = f"attention.csv: clip '{clip.clip_id}', {annotation.annotator}"
        try:
            drawn_map = source.render(annotation.value, annotated, grid)
            shows = np.asarray(drawn_map.reshape(len(drawn_map), -1).any(axis=1))
            timing = source.timing(annotation.value, annotated)
        except VaclipError as failure:
            problems.append(Problem("error", where, str(failure), clip.clip_id))
        else:
            timings += [timing] if timing else []
            shown.append(shows)
            if not shows.any():
                what = (
                    "the annotation shows nowhere in the clip: its times or its places lie outside"
                )
                problems.append(Problem("warning", where, what, clip.clip_id))
    return problems


def _reaches_end(clip: Clip, facts: VideoFacts) -> bool:
    return clip.end_s is None or clip.end_s > facts.duration_s + SLACK_S


def _time_warnings(clip: Clip, facts: VideoFacts, timings: Sequence[Timing]) -> list[str]:
    """Says where the times of annotations and pictures part."""
    _, end = facts.span(clip.start_s, clip.end_s)
    rates = {timing.fps or float(facts.rate or 0) for timing in timings if timing.unit == "frame"}
    found = []
    for rate in sorted(rates - {0.0}):
        off = time_disagreement(facts.times_s[:end], rate)
        if off is not None:
            found.append(
                f"frame numbers and time disagree from frame {off.first} on: counted at {rate:g} a "
                f"second frame {off.worst} is at {off.worst / rate:.2f} s, but it is shown "
                f"{abs(off.seconds):.2f} s ({abs(off.seconds) * rate:.1f} frames) "
                f"{'later' if off.seconds > 0 else 'earlier'}; numbers are kept, and mean pictures "
                "as they are decoded"
            )
    frame_s = facts.duration_s / facts.frames
    for timing in timings:
        if timing.unit != "second":
            continue
        if timing.frames and timing.fps:
            lasts_s = timing.frames / timing.fps
            if abs(lasts_s - facts.duration_s) > 1 / timing.fps + frame_s:
                found.append(
                    f"{timing.frames} frames were annotated at {timing.fps:g} a second, which is "
                    f"{lasts_s:.2f} s, but the video lasts {facts.duration_s:.2f} s"
                )
        if timing.ends_s is not None:
            share = timing.ends_s / facts.duration_s
            if share > 1 + _BEYOND or share < _BEYOND:
                found.append(
                    f"gaze ends at {timing.ends_s:.3g} s, but the video lasts "
                    f"{facts.duration_s:.2f} s: are the unit and the begin of time right?"
                )
    return found


def _equal(stated: str, frames: int) -> bool:
    try:
        return float(stated) == frames
    except ValueError:
        return False


def write_facts(path: Path, clips: Sequence[CheckedClip]) -> None:
    """Writes a CSV file of one row a clip: what its video is, and what is wrong.

    Raises:
        VaclipError: If there is no clip.
    """
    rows = [_row(checked) for checked in clips]
    if not rows:
        raise VaclipError("no video of the study can be found, so there is no table to write")
    write_table(path, list(rows[0]), rows)


def _row(checked: CheckedClip) -> dict[str, Any]:
    facts = checked.facts
    return {
        "clip_id": checked.clip.clip_id,
        "container": facts.container,
        "codec": facts.codec,
        "pixel_format": facts.pixel_format,
        "width": facts.size[1],
        "height": facts.size[0],
        "rotation": facts.rotation,
        "frames_decoded": facts.frames,
        "frames_stated": facts.frames_stated,
        "rate_stated": f"{float(facts.rate):.6g}" if facts.rate else None,
        "variable_rate": _yes(facts.variable_rate),
        "duration_s": f"{facts.duration_s:.3f}",
        "interlaced": _yes(facts.interlaced),
        "sound": _yes(facts.sound),
        "key_distance_s": f"{facts.key_distance_s:.3f}",
        "under_map": None if checked.under_map is None else f"{checked.under_map:.3f}",
        "problems": " | ".join(f"{p.severity}: {p.what}" for p in checked.problems),
    }


def _yes(value: bool) -> str:
    return "yes" if value else "no"
