"""Three readers: Tobii Pro Lab, EyeLink, and a plain table with semicolons and decimal commas."""

from cases import Case, Video

CASE = Case(
    kind="gaze",
    sources=("gaze",),
    videos={"walk_01.mkv": Video(), "walk_02.mkv": Video()},
    flags=("--clips", "{folder}/clips.csv", "--position-unit", "video", "--sigma", "4px"),
    golden=("walk_01", "reader 1", 6),
    renamed=("walk_02", "walk_09"),
)
