"""Body keypoints of a clip, from arrays or from a pickle that can run no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import read_arrays

# What `pickle` raises on damaged data, see "What can be pickled" and `Unpickler.load`.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ImportError,
    OverflowError,
    MemoryError,
    RuntimeError,
    SystemError,
)
SUFFIXES = (".npz", ".npy", ".pkl", ".pickle")


class RestrictedUnpickler(pickle.Unpickler):
    """Admits NumPy arrays, scalars and plain containers, and nothing that can run code.

    See "Restricting globals" in the documentation of `pickle`.
    """

    ALLOWED: ClassVar[set[tuple[str, str]]] = {
        (f"numpy.{core}.multiarray", name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    } | {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),  # how old protocols write bytes
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Returns an admitted global.

        Raises:
            pickle.UnpicklingError: For any other.
        """
        if (module_name, global_name) not in self.ALLOWED:
            raise pickle.UnpicklingError(
                f"the pickle asks for '{module_name}.{global_name}', which could run code; "
                "only arrays and plain containers are read: save the keypoints as .npz"
            )
        return super().find_class(module_name, global_name)


def load_keypoints(path: Path) -> NDArray[np.float32]:
    """Reads the keypoints of one clip.

    Forms: ``.npz`` with ``keypoints`` (T, J, 2) and optionally ``scores`` (T, J); ``.npy``
    (T, J, 2 or 3); ``.pkl`` holding such a dictionary or array, or PYSKL's ``keypoint``
    (M, T, J, 2 or 3) and ``keypoint_score`` (M, T, J), of which the person with the highest
    mean score is taken.

    Returns:
        (T, J, 3): x, y in pixels of the video, confidence in [0, 1]; a joint with an
        undefined coordinate has confidence 0.

    Raises:
        VaclipError: If the file is none of these.
    """
    return keypoints_of(_read(path), path.name)


def keypoints_of(content: Any, name: str) -> NDArray[np.float32]:
    """Returns what such a file holds as `load_keypoints` does.

    Args:
        content: The dictionary or array.
        name: What to call it in messages.

    Raises:
        VaclipError: If it is none of these.
    """
    points, scores = _points_and_scores(content, name)
    if scores.shape != points.shape[:-1] or points.ndim not in (3, 4) or not points.size:
        raise VaclipError(
            f"{name}: keypoints of shape {points.shape} with scores of shape {scores.shape}; "
            "expected (T, J, 2) and (T, J)"
        )
    if points.ndim == 4:
        person = int(np.argmax(scores.mean(axis=(1, 2))))
        points, scores = points[person], scores[person]
    joined = np.concatenate([points[..., :2], scores[..., None]], axis=-1).astype(np.float32)
    undefined = ~np.isfinite(joined).all(axis=-1)
    joined[undefined] = 0.0
    joined[..., 2] = np.clip(joined[..., 2], 0.0, 1.0)
    return joined


def read_pickle(path: Path) -> Any:
    """Reads a pickle of arrays and plain containers; no code runs.

    Raises:
        VaclipError: If it is damaged, or asks for anything else.
    """
    try:
        with path.open("rb") as file:
            return RestrictedUnpickler(file).load()
    except _UNPICKLING_ERRORS as error:
        raise VaclipError(f"{path.name}: the keypoints cannot be read: {error}") from error


def _read(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle"):
        return read_pickle(path)
    if suffix in (".npz", ".npy"):
        return read_arrays(path)
    raise VaclipError(
        f"{path.name}: the keypoints cannot be read: unknown suffix '{path.suffix}', expected one "
        f"of {', '.join(SUFFIXES)}"
    )


def _points_and_scores(content: Any, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(content, dict):
        points = content.get("keypoints", content.get("keypoint"))
        scores = content.get("scores", content.get("keypoint_score"))
    else:
        points, scores = content, None
    if not _numbers(points) or points.ndim < 3 or points.shape[-1] not in (2, 3):
        raise VaclipError(
            f"{name}: expected an array 'keypoints' of shape (T, J, 2), and 'scores' (T, J)"
        )
    if scores is None:
        scores = points[..., 2] if points.shape[-1] == 3 else np.ones(points.shape[:-1])
    if not _numbers(scores):
        raise VaclipError(f"{name}: expected 'scores' to be an array of numbers")
    return points, scores


def _numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
