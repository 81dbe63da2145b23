"""What is made once of a clip and kept in the cache: a small picture, and films for browsers."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Final

from PIL import Image

from vaclip.audit.preview import fitted, frame_rate, panel_size
from vaclip.audit.reencode import encode
from vaclip.data.cache_content import VIEWS
from vaclip.data.entries import META, entry_path
from vaclip.data.video import decode_clip, picture_size
from vaclip.errors import VaclipError
from vaclip.files import atomic_folder
from vaclip.study.study import Clip

THUMBNAIL: Final = "thumbnail.jpg"
FILM: Final = "film.mp4"
SHARP_FILM: Final = "sharp.mp4"
_SIDE: Final = {THUMBNAIL: 160, FILM: 640, SHARP_FILM: 1280}
_CRF: Final = {FILM: "23", SHARP_FILM: "18"}
_FASTEST: Final = 30.0
_VERSION: Final = 1  # raise it when one of them is made otherwise


def kept(root: Path, study: str, clip: Clip, what: str) -> Path:
    """Returns a file of a clip, which is made where it is not there yet.

    Args:
        root: The cache of clips.
        study: Name of the study, which the cache notes.
        clip: The clip. Its video counts by path, size and time of change.
        what: `THUMBNAIL`, its first picture; `FILM`, the clip as H.264 in MP4; or `SHARP_FILM`, the
            same with all that it shows: in its own size, as far as a screen is large enough.

    Raises:
        VaclipError: If the clip cannot be read.
    """
    try:
        status = clip.video.stat()
    except OSError as error:
        raise VaclipError(f"{clip.video.name}: cannot be read: {error.strerror}") from error
    video = [str(clip.video.resolve()), status.st_size, status.st_mtime_ns]
    span = [clip.start_s, clip.end_s]
    source = {"version": _VERSION, "what": what, "video": video, "span": span}
    entry = entry_path(root, VIEWS, source)
    if not (entry / what).is_file():
        with atomic_folder(entry) as temporary:
            (temporary / META).write_text(json.dumps({"study": study}))
            (_write_thumbnail if what == THUMBNAIL else _write_film)(clip, temporary / what)
    return entry / what


def _write_thumbnail(clip: Clip, target: Path) -> None:
    size = panel_size(clip, _SIDE[THUMBNAIL])
    decoded = decode_clip(
        clip.video, fps=1e-3, size=size, start_s=clip.start_s, end_s=clip.start_s + 1
    )
    Image.fromarray(decoded.frames[0]).save(target, quality=80)


def _write_film(clip: Clip, target: Path) -> None:
    what = target.name
    size = picture_size(clip.video)
    side = min(_SIDE[what], max(_SIDE[FILM], *size))
    height, width = (pixels + pixels % 2 for pixels in fitted(size, side))
    rate = Fraction(min(frame_rate(clip), _FASTEST)).limit_denominator(1001)
    span = clip.start_s, clip.end_s
    options = {"crf": _CRF[what], "preset": "veryfast"}
    encode(clip.video, target, rate, (height, width), span=span, options=options)
