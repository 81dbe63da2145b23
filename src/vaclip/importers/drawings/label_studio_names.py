"""What a task of Label Studio calls its video."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, unquote, urlsplit

from vaclip.errors import VaclipError

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_IN_HYPERTEXT = re.compile(r"<\s*(?:video|source)\b[^<>]*?\ssrc\s*=\s*(['\"])(.*?)\1", re.I | re.S)


def video_name(value: str) -> str:
    """Returns the path or file name behind a task's data.

    A URL's path; of ``/data/local-files/?d=PATH`` the path; of an uploaded file the name without
    the eight characters that Label Studio puts before it. Of hypertext that of its first video;
    empty if it shows none.

    Examples:
        >>> video_name("/data/upload/8/1fd99634-walk_01.mp4")
        'walk_01.mp4'
        >>> video_name("/data/local-files/?d=gait/walk%2001.mp4")
        'gait/walk 01.mp4'
        >>> video_name("<video src='/data/upload/8/1fd99634-walk_01.mp4' width='100%'>")
        'walk_01.mp4'
    """
    if value.lstrip().startswith("<"):
        shown = _IN_HYPERTEXT.search(value)
        return video_name(unescape(shown[2]).strip()) if shown else ""
    if "://" not in value and not value.startswith("/data/"):
        return value
    try:
        url = urlsplit(value)
        local = parse_qs(url.query).get("d")
    except ValueError as error:
        raise VaclipError(f"'{value:.80}' is no address of a video: {error}") from error
    if url.path.rstrip("/").endswith("/data/local-files") and local:
        return local[0]
    path = unquote(url.path).lstrip("/")
    if "data/upload/" in path:
        return _UPLOADED.sub("", path.rpartition("/")[2], count=1)
    return path
