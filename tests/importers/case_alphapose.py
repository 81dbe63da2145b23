"""One file named by its video, with tracking; one in a folder of its name, whose end is empty."""

from cases import HIPS, Case, Video

CASE = Case(
    kind="alphapose",
    sources=("results",),
    videos={"walk_01.mkv": Video(frames=10), "walk_02.mkv": Video(frames=6)},
    flags=("--clips", "{folder}/clips.csv"),
    then=HIPS,
    golden=("walk_01", "reader", 5),
    renamed=("walk_01", "walk_09"),
)
