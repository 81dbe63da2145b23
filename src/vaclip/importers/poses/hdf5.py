"""HDF5 of pose tools, read in another process."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.importers.reading import SourceFile

SUFFIXES = (".h5", ".hdf5")
_SECONDS, _BYTES_A_SECOND = 6, 1 << 20  # for a file, far more than an intact one takes


def hdf5_arrays(file: SourceFile, layout: str) -> dict[str, NDArray[Any]]:
    """Reads a file in another process, see `vaclip.importers.poses.read_hdf5`.

    Args:
        file: The file.
        layout: Of which tool.

    Raises:
        VaclipError: If h5py is not there, the file is damaged, or of another layout.
    """
    if find_spec("h5py") is None:
        raise VaclipError(
            f"{file.name}: HDF5 is read by h5py: pip install 'vaclip[hdf5]', or export CSV"
        )
    content = file.read()
    reader = [sys.executable, "-P", str(Path(__file__).with_name("read_hdf5.py")), layout]
    seconds = _SECONDS + len(content) / _BYTES_A_SECOND
    try:
        done = subprocess.run(
            reader, input=content, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise VaclipError(
            f"{file.name}: not read within {seconds:.0f} s; is it damaged?"
        ) from error
    if done.returncode:
        what = done.stderr.decode(errors="replace").strip()[-500:] or "the reader crashed"
        raise VaclipError(f"{file.name}: cannot be read as HDF5: {what}")
    with np.load(BytesIO(done.stdout), allow_pickle=False) as arrays:
        return dict(arrays)
