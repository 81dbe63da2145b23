"""One file of two individuals and a lamp, filtered; one of a single animal."""

from cases import HIPS, Case, Video

CASE = Case(
    kind="dlc",
    sources=("videos",),
    videos={"walk_01.mkv": Video(frames=20), "walk_02.mkv": Video(frames=12)},
    flags=("--clips", "{folder}/clips.csv"),
    then=HIPS,
    golden=("walk_01", "reader", 5),
    renamed=("walk_02", "walk_09"),
)
