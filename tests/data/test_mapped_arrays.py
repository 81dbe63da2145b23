from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from vaclip.data.arrays import map_array
from vaclip.errors import VaclipError


@pytest.fixture
def array(tmp_path):
    path = tmp_path / "entry" / "frames.npy"
    path.parent.mkdir()
    np.save(path, np.arange(5000, dtype=np.uint8).reshape(50, 100))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_an_array_is_what_was_saved(array, dtype):
    wanted = np.arange(6, dtype=dtype).reshape(1, 2, 3)
    np.save(array, wanted)
    np.testing.assert_array_equal(map_array(array).numpy(), wanted)


def test_what_is_removed_from_under_a_reader_stays_with_it(array):
    mapped = map_array(array)
    array.unlink()
    assert mapped[49, 99] == 4999 % 256


@pytest.mark.parametrize("damage", ["gone", "cut", "cut within its head", "no array", "gone late"])
def test_an_array_that_is_gone_or_damaged_is_told(array, damage, monkeypatch):
    if damage == "gone":
        array.unlink()
    elif damage == "no array":
        array.write_text("no array")
    elif damage == "gone late":
        real = torch.from_file

        def late(*arguments, **options):
            array.unlink()
            return real(*arguments, **options)

        monkeypatch.setattr(torch, "from_file", late)
    else:
        os.truncate(array, 4000 if damage == "cut" else 20)
    with pytest.raises(VaclipError, match=r"frames\.npy cannot be read.*makes it anew"):
        map_array(array)
