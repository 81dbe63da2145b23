"""One file of a demo script, which counts from 1, one of the inferencer, from 0."""

from cases import Case, Video

CASE = Case(
    kind="mmpose",
    sources=("predictions",),
    videos={"walk_01.mkv": Video(frames=10), "walk_02.mkv": Video(frames=6)},
    flags=("--clips", "{folder}/clips.csv"),
    then=(
        "data", "import", "marks", "{folder}/marks.csv", "--into", "{study}",
        "--region", "body=left_hip,right_hip",
    ),
    golden=("walk_01", "reader", 5),
    renamed=("walk_02", "walk_09"),
)  # fmt: skip
