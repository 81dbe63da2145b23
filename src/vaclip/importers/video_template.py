"""``--video`` and ``--video-template``: which videos exports are of, where these do not say it."""

from __future__ import annotations

import argparse
from pathlib import PurePosixPath

from vaclip.errors import VaclipError

_NAME = "{name}"


def add_video_options(group: argparse._ArgumentGroup, video: str, template: str) -> None:
    """Adds both flags, of which one may be given.

    Args:
        group: Where to.
        video: What ``--video`` says.
        template: What ``{name}`` stands for in ``--video-template``.
    """
    either = group.add_mutually_exclusive_group()
    either.add_argument("--video", metavar="NAME", help=video)
    either.add_argument("--video-template", metavar="TEXT",
                        help="the same for many: a name with {name}, which stands for "
                        f"{template}, such as {{name}}.mp4")  # fmt: skip


def templated(options: argparse.Namespace, name: str) -> str | None:
    """Returns the video that ``--video-template`` makes of a name, without its folders.

    Returns:
        None where the flag is not given.

    Raises:
        VaclipError: If the template has no ``{name}``.
    """
    template: str | None = getattr(options, "video_template", None)
    if template is None:
        return None
    if _NAME not in template:
        raise VaclipError(f"--video-template {template}: expected {_NAME} in it")
    return template.replace(_NAME, PurePosixPath(name.replace("\\", "/")).name)
