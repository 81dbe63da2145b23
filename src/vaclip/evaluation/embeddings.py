"""The embeddings beside a prediction table: one file a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from vaclip.errors import VaclipError
from vaclip.files import atomic_file, read_arrays
from vaclip.metrics.functional import FloatArray

Model: TypeAlias = tuple[str, int, int]
"""(arm, fold, seed)."""
FOLDER: Final = "embeddings"


class Embeddings(NamedTuple):
    """Of the N test segments of a model, in the order of its rows in the prediction table."""

    video: FloatArray
    """(N, E) of unit length."""
    attn: FloatArray
    """(N, E) of unit length."""


def embeddings_path(folder: Path, model: Model) -> Path:
    """Returns where the folder of a prediction table keeps the embeddings of a model."""
    arm, fold, seed = model
    return folder / FOLDER / f"{arm}-fold{fold}-seed{seed}.npz"


def save_embeddings(folder: Path, model: Model, embeddings: Embeddings) -> None:
    """Writes the embeddings of a model beside a prediction table."""
    with atomic_file(embeddings_path(folder, model)) as temporary:
        np.savez(temporary, video=embeddings.video, attn=embeddings.attn)


class EmbeddingFiles(Mapping[Model, Embeddings]):
    """The embeddings that lie beside a prediction table; each is read when it is asked for.

    Args:
        folder: Of the table.
        models: The models that the table has.
    """

    def __init__(self, folder: Path, models: Iterable[Model]) -> None:
        self._files = {
            model: path for model in models if (path := embeddings_path(folder, model)).is_file()
        }

    def __getitem__(self, model: Model) -> Embeddings:
        path = self._files[model]
        arrays = read_arrays(path)
        if not isinstance(arrays, dict) or not {"video", "attn"} <= arrays.keys():
            raise VaclipError(f"{path}: no embeddings: the arrays 'video' and 'attn' are missing")
        return Embeddings(arrays["video"], arrays["attn"])

    def __iter__(self) -> Iterator[Model]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
