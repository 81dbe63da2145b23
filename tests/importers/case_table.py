"""A hospital's spreadsheet: semicolons, decimal commas, backslashes, German labels."""

from cases import Case, Video

CASE = Case(
    kind="table",
    sources=("clips.csv",),
    videos={"p01/cine.mkv": Video(), "p02/cine.mkv": Video(frames=12)},
    flags=(
        "--video-column", "Datei", "--patient-column", "Patient", "--label-column", "Diagnose",
        "--start-column", "Beginn", "--end-column", "Ende",
        "--rename-label", "krank=ill", "--rename-label", "gesund=well",
    ),
)  # fmt: skip
