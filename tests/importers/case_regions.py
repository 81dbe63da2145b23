"""Two readers name regions, one of them for both clips nothing or only one."""

from cases import Case, Video

CASE = Case(
    kind="regions",
    sources=("regions.csv",),
    videos={"walk_01.mkv": Video(), "walk_02.mkv": Video()},
    flags=(
        "--clips", "{folder}/clips.csv", "--clip-name-column", "Video",
        "--annotator-column", "Reader", "--region-column", "Regions",
        "--region", "upper=0.25,0,0.75,0.5", "--region", "lower=0.5,0.75,1,1",
    ),
    golden=("walk_01", "reader 1", 5),
    renamed=("walk_02.mkv,reader 2", "walk_09.mkv,reader 2"),
)  # fmt: skip
