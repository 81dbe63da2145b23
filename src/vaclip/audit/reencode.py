"""Seekable copies of a study's videos at a constant rate: what `vaclip data reencode` makes.

The new study says the same of the same pictures. Times stay what they are. Where frame k of a new
video shows frame f(k) of the old one, whatever counts frames is put into that order too.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vaclip.audit.inspect import VideoFacts, inspect_video
from vaclip.data.sampling import FrameSampler
from vaclip.data.video import timed_frames, upright_picture
from vaclip.errors import VaclipError
from vaclip.files import LARGEST_ARRAYS, atomic_file, read_json, write_json
from vaclip.maps.arrays import load_map
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import map_source
from vaclip.study.load import load_study
from vaclip.study.patients import PATIENTS
from vaclip.study.study import EXCLUSIONS, Clip, Study
from vaclip.study.tables import Row, read_table, write_table

_NOTES = ".reencode"  # folder of the new study: what its videos were made from
_ENCODER = {"crf": "16", "preset": "medium", "g": "12", "bf": "0"}  # looks lossless, seeks fast
_FASTEST = 60  # pictures a second of a video whose rate varies
_MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class _Copy:
    """A new video.

    Attributes:
        source: What it was made from: size and time of change of the file, and the rate asked for.
        frames: Of the old video.
        shows: (K,) the frame of the old video that each of its frames shows.
        scale: (y, x) by which positions in pixels grow; 1 but for odd sizes.
    """

    source: list[Any]
    frames: int
    shows: list[int]
    scale: list[float]


def reencode_study(
    root: Path,
    into: Path,
    *,
    fps: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes a study whose videos are H.264 in MP4, upright, at a constant rate.

    Videos that an earlier, interrupted call finished are kept. The tables come last, so that
    half a study is none.

    Args:
        root: The study; it stays as it is.
        into: Folder of the new one.
        fps: Frames a second; by default each video's own rate, or where that varies the one
            that shows every picture, up to 60.
        progress: Called with (done, total) after each video.

    Returns:
        How many videos the new study has.

    Raises:
        VaclipError: If the study has an error, videos cannot be read (the message names all of
            them), an annotation does not fit its video, or ``into`` holds something else.
    """
    if fps is not None and not 0.1 <= fps <= 240:
        raise VaclipError(f"--fps is {fps:g}; give frames a second, from 0.1 to 240")
    study = load_study(root)
    _check_place(study.root, into)
    videos = list(dict.fromkeys(clip.video for clip in study.clips))
    names = _Names(study.root)
    copies: dict[Path, _Copy] = {}
    failures = []
    for done, video in enumerate(videos, start=1):
        try:
            copies[video] = _copy_video(video, into, names.give(video, ".mp4"), fps)
        except VaclipError as error:
            failures.append(str(error))
        if progress:
            progress(done, len(videos))
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures)
        raise VaclipError(
            f"{len(failures)} video(s) cannot be re-encoded:\n{listed}\n"
            f"Leave them out with `vaclip data check {root} --quarantine`, and start again."
        )
    _write_tables(study, into, copies, names)
    return len(videos)


def _check_place(root: Path, into: Path) -> None:
    old, new = root.resolve(), into.resolve()
    if old.is_relative_to(new) or new.is_relative_to(old):
        raise VaclipError(f"--into is {into}; name a folder outside of the study")
    if into.exists() and not (into / _NOTES).is_dir() and any(into.iterdir()):
        raise VaclipError(f"--into is {into}, which holds something else; name a new folder")


class _Names:
    """Gives every new file the old one's path, but its own suffix; no two get the same."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._given: dict[tuple[Path, Any], str] = {}

    def give(self, path: Path, suffix: str, beside: Any = None) -> str:
        """Returns a path relative to the study, the same for the same arguments.

        Args:
            path: The old file.
            suffix: Of the new one.
            beside: What else the new file depends on.
        """
        if (path, beside) not in self._given:
            stem = path.relative_to(self._root).with_suffix("").as_posix()
            taken = set(self._given.values())
            names = (f"{stem}{f'-{n}' if n > 1 else ''}{suffix}" for n in range(1, len(taken) + 2))
            self._given[path, beside] = next(name for name in names if name not in taken)
        return self._given[path, beside]


# --- videos --------------------------------------------------------------------------------------


def _copy_video(video: Path, into: Path, name: str, fps: float | None) -> _Copy:
    status = video.stat()
    source = [status.st_size, status.st_mtime_ns, fps]
    note = into / _NOTES / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
    if note.is_file() and (into / name).is_file():
        copy = _Copy(**read_json(note, note.name))
        if copy.source == source:
            return copy
    facts = inspect_video(video)
    if facts.failure is not None:
        raise VaclipError(facts.failure)
    rate = video_rate(facts) if fps is None else Fraction(fps).limit_denominator(1001)
    if facts.duration_s * rate > _MOST_FRAMES:
        raise VaclipError(
            f"{video.name}: lasts {facts.duration_s:.0f} s, which gives more than {_MOST_FRAMES} "
            f"frames at {float(rate):g} a second; give a lower --fps, or cut the video"
        )
    note.parent.mkdir(parents=True, exist_ok=True)
    size = (facts.size[0] + facts.size[0] % 2, facts.size[1] + facts.size[1] % 2)
    with atomic_file(into / name) as temporary:
        shows = encode(video, temporary, rate, size, pixel_aspect=facts.pixel_aspect)
    copy = _Copy(source, facts.frames, shows, [size[0] / facts.size[0], size[1] / facts.size[1]])
    write_json(note, asdict(copy))
    return copy


def video_rate(facts: VideoFacts) -> Fraction:
    """Returns the rate at which a copy shows every picture, none much longer than before.

    That is the stated rate where the time stamps agree with it, the measured one where they are
    even but do not, and else the one of the shortest picture, up to 60 a second.
    """
    if facts.variable_rate:
        shortest = float(np.diff(facts.times_s).min())
        return Fraction(min(1 / shortest, _FASTEST)).limit_denominator(1001)
    between = facts.frames - 1
    measured = between / facts.times_s[-1] if between else facts.frames / facts.duration_s
    # Time stamps are rounded; a rate that is off by half a frame at the end is another rate.
    if facts.rate and abs(float(facts.rate) - measured) * facts.duration_s < 0.5:
        return facts.rate
    return Fraction(measured).limit_denominator(1001)


def encode(
    video: Path,
    target: Path,
    rate: Fraction,
    size: tuple[int, int],
    *,
    span: tuple[float, float | None] = (0.0, None),
    pixel_aspect: Fraction | None = None,
    options: Mapping[str, str] = _ENCODER,
) -> list[int]:
    """Writes a video, or a part of it, as H.264 in MP4 at a constant rate.

    Args:
        video: The old one.
        target: The MP4 to write.
        rate: Pictures a second.
        size: (H, W) in pixels, even.
        span: (start_s, end_s) of the part, in seconds from the first frame.
        pixel_aspect: How much wider than high a pixel is shown; None for square ones.
        options: Of libx264.

    Returns:
        Which frame of ``video`` each of the new frames shows.

    Raises:
        VaclipError: If the video cannot be read, or not be encoded.
    """
    try:
        return _encoded(video, target, rate, size, span, pixel_aspect, options)
    except av.FFmpegError as error:
        raise VaclipError(f"{video.name}: cannot be encoded as H.264: {error.strerror}") from error


def _encoded(
    video: Path,
    target: Path,
    rate: Fraction,
    size: tuple[int, int],
    span: tuple[float, float | None],
    pixel_aspect: Fraction | None,
    options: Mapping[str, str],
) -> list[int]:
    sampler = FrameSampler(float(rate), *span)
    reformatter = VideoReformatter()
    shows: list[int] = []
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=dict(options))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for number, (frame, shown_until_s) in enumerate(timed_frames(video)):
            fills = sampler.fills(shown_until_s)
            if fills:
                # An odd side grows by a pixel: encoders want even ones, and positions in
                # fractions of the frame stay right, as they would not with a border.
                upright = upright_picture(frame, size, reformatter)
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(upright), format="rgb24")
            for _ in range(fills):
                picture.pts, picture.time_base = len(shows), 1 / rate
                shows.append(number)
                container.mux(stream.encode(picture))
            if sampler.done:
                break
        container.mux(stream.encode())
    return shows


# --- tables and annotations ----------------------------------------------------------------------


def _write_tables(study: Study, into: Path, copies: dict[Path, _Copy], names: _Names) -> None:
    """Writes annotations and tables; study.yaml, without which a folder is no study, last."""
    for name in (
        "study.yaml",
        "clips.csv",
        "attention.csv",
        EXCLUSIONS,
        PATIENTS,
    ):  # of an earlier call
        (into / name).unlink(missing_ok=True)
    clips = {clip.clip_id: clip for clip in study.clips}

    def change_clip(row: Row) -> None:
        clip = clips[row["clip_id"]]
        copy = copies[clip.video]
        row["video"] = names.give(clip.video, ".mp4")
        if row.get("frames"):
            row["frames"] = str(len(copy.shows))
        if clip.keypoints is not None:
            row["keypoints"] = names.give(clip.keypoints, ".npz", clip.video)
            _copy_keypoints(clip, into / row["keypoints"], copy)

    def change_annotation(row: Row) -> None:
        clip = clips[row["clip_id"]]
        file = map_source(row["kind"]).drawing(row["value"], study.annotated(clip))
        if file is not None:
            copy = copies[clip.video]
            row["value"] = _copy_drawing(study, clip, row, file, into, copy, names)

    for name, change in (("clips.csv", change_clip), ("attention.csv", change_annotation)):
        if (study.root / name).exists():
            header, lines = read_table(study.root / name)
            rows = [row for _, row in lines]
            for row in rows:
                if row["clip_id"] in clips:  # it is not excluded
                    change(row)
            write_table(into / name, header, rows)
    for name in (EXCLUSIONS, PATIENTS, "study.yaml"):
        if (study.root / name).exists():
            _copy_file(study.root / name, into / name)


def _copy_keypoints(clip: Clip, target: Path, copy: _Copy) -> None:
    assert clip.keypoints is not None
    points = _in_new_order(load_keypoints(clip.keypoints), clip, clip.keypoints.name, copy)
    places = points[..., :2] * np.array(copy.scale[::-1], np.float32)
    with atomic_file(target) as temporary:
        np.savez_compressed(temporary, keypoints=places, scores=points[..., 2])


def _copy_drawing(
    study: Study,
    clip: Clip,
    row: Row,
    file: Path,
    into: Path,
    copy: _Copy,
    names: _Names,
) -> str:
    """Writes the file behind an annotation for the new video, and returns its name."""
    value = row["value"]
    timing = map_source(row["kind"]).timing(value, study.annotated(clip))
    if timing is None or timing.unit != "frame":
        name = names.give(file, file.suffix)
        _copy_file(file, into / name)
    elif row["kind"] == "map":
        name = names.give(file, ".npz", clip.video)
        frames = _in_new_order(load_map(file, value), clip, f"map '{value}'", copy)
        with atomic_file(into / name) as temporary:
            np.savez_compressed(temporary, map=frames)
    else:
        name = names.give(file, file.suffix, clip.video)
        content = read_json(file, f"{row['kind']} '{value}'")
        before = content.get("source_frames")
        shows = copy.shows if before is None else _in_new_order(before, clip, value, copy).tolist()
        write_json(into / name, {**content, "source_frames": shows})
    return name


def _in_new_order(frames: Any, clip: Clip, what: str, copy: _Copy) -> NDArray[Any]:
    """Returns what belongs to the old frames, one row each, in the order of the new ones."""
    frames = np.asarray(frames)
    if clip.end_s is None and len(frames) != copy.frames:
        raise VaclipError(
            f"clip '{clip.clip_id}': {what} has {len(frames)} frames, but the video gives "
            f"{copy.frames}; annotate the same file that clips.csv names"
        )
    # Of a video that is annotated up to the end of the clip alone the rest has no row.
    shows = np.array([number for number in copy.shows if number < len(frames)], np.int64)
    if len(shows) * frames[:1].nbytes > LARGEST_ARRAYS:
        raise VaclipError(
            f"clip '{clip.clip_id}': {what} would have more than {LARGEST_ARRAYS >> 30} GiB at the "
            "new rate; give a lower --fps, or make the map smaller"
        )
    return frames[shows]


def _copy_file(file: Path, target: Path) -> None:
    with atomic_file(target) as temporary:
        shutil.copyfile(file, temporary)
