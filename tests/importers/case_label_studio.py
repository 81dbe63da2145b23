"""One project: boxes counted at half the video's rate, a still of all tools, a skipped task."""

from cases import Case, Video

CASE = Case(
    kind="label_studio",
    sources=("project-8.json",),
    videos={"walk_01.mkv": Video(frames=20), "walk_02.mkv": Video(frames=12)},
    flags=("--clips", "{folder}/clips.csv"),
    golden=("walk_01", "reader1@clinic.example", 5),
    renamed=("walk_02", "walk_09"),
)
