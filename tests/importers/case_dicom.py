"""Two cines of two patients in an archive's folders, the second one an enhanced object; a still
picture and a text beside them.
"""

from pathlib import Path

import dicom_files as made
from cases import Case
from pydicom import uid
from pydicom.dataset import Dataset


def _item(**tags: object) -> Dataset:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def _moment(number: int) -> Dataset:
    return _item(TemporalPositionSequence=[_item(TemporalPositionTimeOffset=number / 10)])


def prepare(folder: Path) -> None:
    """Writes the files; ids are fixed, so that pseudonyms are."""
    cines = folder / "cines"
    values = _item(WindowCenter=127.5, WindowWidth=255, VOILUTFunction="LINEAR_EXACT")
    scale = _item(FrameVOILUTSequence=[values])
    made.by_pydicom(
        cines / "1" / "one.dcm", made.colours(20), uid.RLELossless,
        PatientID="anna", SOPInstanceUID="1.2.3.1", FrameTime="100",
    )  # fmt: skip
    made.native(
        cines / "2" / "IM0002", made.greys(12), PatientID="bert", SOPInstanceUID="1.2.3.2",
        FrameTime=None, FrameIncrementPointer=None, SharedFunctionalGroupsSequence=[scale],
        PerFrameFunctionalGroupsSequence=[_moment(number) for number in range(12)],
    )  # fmt: skip
    made.native(cines / "2" / "IM0003", made.greys(1), PatientID="bert", SOPInstanceUID="1.2.3.3")
    (cines / "report.txt").write_text("nothing")


CASE = Case(
    kind="dicom",
    sources=("cines",),
    videos={},
    flags=("--labels", "{folder}/labels.csv", "--key", "{folder}/key.txt", "--patient-ids"),
    prepare=prepare,
    then=(
        "data", "import", "regions", "{folder}/regions.csv", "--into", "{study}",
        "--region", "middle=0.25,0.25,0.75,0.75",
    ),
)  # fmt: skip
