"""Body keypoints of a clip, from arrays or from a pickle that can run no code."""

from __future__ import annotations

import pickle
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError

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
            VaclipError: For any other.
        """
        if (module_name, global_name) not in self.ALLOWED:
            raise VaclipError(
                f"the pickle asks for '{module_name}.{global_name}', which could run code; "
                "only arrays and plain containers are read: save the keypoints as .npz"
            )
        return super().find_class(module_name, global_name)


@lru_cache(maxsize=8)
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
    try:
        content = _read(path)
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise VaclipError(f"{path.name}: the keypoints cannot be read: {error}") from error
    points, scores = _points_and_scores(content, path.name)
    if points.ndim == 4:
        person = int(np.argmax(scores.reshape(len(scores), -1).mean(axis=1))) if len(scores) else 0
        points, scores = points[person], scores[person]
    if points.ndim != 3 or scores.shape != points.shape[:2]:
        raise VaclipError(
            f"{path.name}: keypoints of shape {points.shape} with scores of shape {scores.shape}; "
            "expected (T, J, 2) and (T, J)"
        )
    joined = np.concatenate([points[..., :2], scores[..., None]], axis=-1).astype(np.float32)
    undefined = ~np.isfinite(joined).all(axis=-1)
    joined[undefined] = 0.0
    joined[..., 2] = np.clip(joined[..., 2], 0.0, 1.0)
    return joined


def _read(path: Path) -> Any:
    if path.suffix in (".pkl", ".pickle"):
        with path.open("rb") as file:
            return RestrictedUnpickler(file).load()
    if path.suffix in (".npz", ".npy"):
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if path.suffix == ".npz" else loaded
    raise ValueError(f"unknown suffix '{path.suffix}', expected one of {', '.join(SUFFIXES)}")


def _points_and_scores(content: Any, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(content, dict):
        points = content.get("keypoints", content.get("keypoint"))
        scores = content.get("scores", content.get("keypoint_score"))
    else:
        points, scores = content, None
    if not isinstance(points, np.ndarray) or points.ndim < 3 or points.shape[-1] not in (2, 3):
        raise VaclipError(
            f"{name}: expected an array 'keypoints' of shape (T, J, 2), and 'scores' (T, J)"
        )
    if scores is None:
        scores = points[..., 2] if points.shape[-1] == 3 else np.ones(points.shape[:-1])
    return points, np.asarray(scores)
