"""Two tasks: a box that follows the square, a mask of one frame; a shape that goes and comes."""

from cases import Case, Video

CASE = Case(
    kind="cvat",
    sources=("exports",),
    videos={"walk_01.mkv": Video(frames=20), "walk_02.mkv": Video(frames=12)},
    flags=("--clips", "{folder}/clips.csv"),
    golden=("walk_01", "reader_1", 5),
    renamed=("walk_02", "walk_09"),
)
