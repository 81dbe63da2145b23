"""The lists of COCO's JSON, and which frame of which video each picture is.

Facts from "COCO Data Format"; ``videos``, ``video_id`` and ``frame_id`` from CocoVID as MMTracking
describes it. Otherwise the file name says the frame, see docs/import/coco.md; whether the first one
is 0 or 1 depends on how pictures were cut (FFmpeg: 1) and must be said where none is numbered 0.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from vaclip.errors import VaclipError
from vaclip.importers.poses.people import frame_number

# VIDEO_000012, VIDEO_frame_12, frame12 or 000012: then the folder is the video's.
_PICTURE = re.compile(
    r"(?:(?P<video>.+?)[ _.-])??(?:(?:frame|image|img)[ _.-]?)?(?P<number>[0-9]+)", re.IGNORECASE
)


@dataclass(frozen=True)
class Picture:
    """A picture: its video, the number of its frame, and (height, width) if they are said."""

    video: str
    number: int
    size: tuple[int, int] | None


def coco_rows(base: Any, key: str, name: str) -> list[Any]:
    """Returns one of the lists of a file."""
    rows = base.get(key) if isinstance(base, dict) else None
    if not isinstance(rows, list):
        raise VaclipError(f"{name}: expected COCO's lists 'images', 'annotations' and 'categories'")
    return rows


def coco_key(value: Any, where: str) -> int | str:
    """Returns an id."""
    if not isinstance(value, int | str):
        raise VaclipError(f"{where}: {str(value)[:40]!r} is no id")
    return value


def _new_key(row: dict[str, Any], taken: Container[int | str], where: str) -> int | str:
    if (key := coco_key(row.get("id"), where)) in taken:
        raise VaclipError(
            f"{where}: a second one with the id {key!r}; where files were put together, import "
            "each of them by itself"
        )
    return key


def coco_pictures(base: Any, name: str) -> dict[int | str, Picture]:
    """Returns the pictures of a file by their ids.

    Args:
        base: The content.
        name: Of the file, for messages.

    Raises:
        VaclipError: If an entry is none, or a name has no frame number.
    """
    titles: dict[int | str, str] = {}
    for number, row in enumerate(coco_rows(base, "videos", name) if "videos" in base else []):
        where = f"{name}: videos[{number}]"
        title = row.get("name", row.get("file_name")) if isinstance(row, dict) else None
        if not isinstance(title, str):
            raise VaclipError(f"{where}: expected 'id' and 'name'")
        titles[_new_key(row, titles, where)] = title
    pictures: dict[int | str, Picture] = {}
    for number, row in enumerate(coco_rows(base, "images", name)):
        where = f"{name}: images[{number}]"
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise VaclipError(f"{where}: expected 'id' and 'file_name'")
        pictures[_new_key(row, pictures, where)] = _picture(row, titles, where)
    if not pictures:
        raise VaclipError(f"{name}: there is no picture in 'images'")
    return pictures


def named_pictures(
    pictures: dict[int | str, Picture], options: argparse.Namespace, name: str
) -> dict[int | str, Picture]:
    """Returns pictures with a video: what does not name it is of the one that the file is called.

    Args:
        pictures: By their ids.
        options: Where ``--video`` or ``--video-template`` says what the file is of.
        name: Of the file.

    Raises:
        VaclipError: If neither does.
    """
    if options.video or all(picture.video != "." for picture in pictures.values()):
        return pictures
    if options.video_template is None:
        raise VaclipError(
            f"{name}: pictures do not name their video; say --video NAME, or of many files "
            "--video-template TEXT"
        )
    stem = PurePosixPath(name).stem
    return {
        key: replace(picture, video=stem) if picture.video == "." else picture
        for key, picture in pictures.items()
    }


def _picture(row: dict[str, Any], titles: dict[int | str, str], where: str) -> Picture:
    match row.get("height"), row.get("width"):
        case (int(height), int(width)) if min(height, width) > 0:
            size = height, width
        case _:
            size = None
    path = PurePosixPath(row["file_name"].replace("\\", "/"))
    match = _PICTURE.fullmatch(path.stem)
    video = titles.get(coco_key(row["video_id"], where)) if "video_id" in row else None
    number = row.get("frame_id") if video is not None else None
    if number is None:
        if match is None:
            raise VaclipError(
                f"{where}: '{path}' has no frame number; expected VIDEO/000012.jpg or "
                "VIDEO_000012.jpg"
            )
        number = match["number"]
    if video is None:
        video = str(path.parent / match["video"] if match and match["video"] else path.parent)
    return Picture(video, frame_number(number, where), size)
