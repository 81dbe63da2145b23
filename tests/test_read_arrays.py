"""Arrays of other people: nothing runs, nothing is believed, nothing fills the memory."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip import files
from vaclip.errors import VaclipError
from vaclip.files import read_arrays


def header(shape, dtype="<f4"):
    """Returns the first bytes of an .npy file, which claim a shape."""
    buffer = io.BytesIO()
    claim = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, claim)
    return buffer.getvalue()


def refused(path, match=None):
    tracemalloc.start()
    with pytest.raises(VaclipError, match=match) as caught:
        read_arrays(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert str(caught.value).startswith(f"{path.name}: cannot be read as an array: ")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.zeros((0, 3), np.uint8),
        np.array(5),
    ],
)
def test_arrays_are_read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array, y=array + 1)
    np.savez_compressed(tmp_path / "c.npz", x=array)
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy"), array)
    both = read_arrays(tmp_path / "a.npz")
    assert set(both) == {"x", "y"}
    np.testing.assert_array_equal(both["y"], array + 1)
    np.testing.assert_array_equal(read_arrays(tmp_path / "c.npz")["x"], array)


@pytest.mark.parametrize("shape", [(10**12,), (10**30, 10**30), (33,)])
def test_a_claim_that_the_file_cannot_hold(tmp_path, shape):
    content = header(shape)  # 128 bytes; 33 numbers alone need 132
    (tmp_path / "a.npy").write_bytes(content)
    refused(tmp_path / "a.npy", "claims .* bytes of numbers, and has")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    refused(tmp_path / "a.npz", "claims .* bytes of numbers, and has")


@pytest.mark.parametrize("shape", [(-1, 5), (10**30,)])
def test_shapes_that_there_are_not(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(header(shape, "V0"))
    refused(tmp_path / "a.npy")


def test_a_zip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_ARRAYS", 64 << 20)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x.npy", "y.npy"):  # each by itself is small enough
            with archive.open(name, "w") as file:
                file.write(header((33 << 18,)))
                for _ in range(33):
                    file.write(bytes(1 << 20))
    assert (tmp_path / "a.npz").stat().st_size < 200_000
    refused(tmp_path / "a.npz", "it claims 0.1 GiB; at most 2 GiB are read")


def test_a_sparse_file_above_the_limit(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(header((3 << 30,), "|u1"))
        file.truncate(len(header((3 << 30,), "|u1")) + (3 << 30))  # takes no place on the disk
    refused(tmp_path / "a.npy", "it claims 3.0 GiB; at most 2 GiB are read")


def test_a_header_that_claims_to_be_endless(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 999)
    refused(tmp_path / "a.npy", "its header claims to be longer than the file")


@pytest.mark.parametrize("letter", [b"(", b"-", b"[", b"{"])
def test_a_header_that_is_nested_too_deep(tmp_path, letter):
    length = (9000).to_bytes(2, "little")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + length + letter * 8999 + b"\n")
    refused(tmp_path / "a.npy")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_numpy_does_not_write(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("x.npy", header((1,)) + b"1234")
    refused(tmp_path / "a.npz", "compressed in a way that NumPy does not write")


def test_an_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.txt", b"no array at all")
    refused(tmp_path / "a.npz", "magic string")


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Evil()], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([Evil()], object))
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Evil()))
    refused(tmp_path / "a.npy", "Object arrays cannot be loaded")
    refused(tmp_path / "a.npz", "Object arrays cannot be loaded")
    refused(tmp_path / "b.npy", "magic string")


@given(st.binary(max_size=300), st.integers(0, 200), st.booleans())
def test_damage_is_an_error_of_the_user(tmp_path_factory, noise, place, zipped):
    """Anything in the place of a part of a valid file is refused, or read as arrays."""
    path = tmp_path_factory.getbasetemp() / f"fuzz.{'npz' if zipped else 'npy'}"
    if zipped:
        np.savez_compressed(path, x=np.arange(50.0))
    else:
        np.save(path, np.arange(50.0))
    content = path.read_bytes()
    path.write_bytes(content[:place] + noise + content[place + len(noise) :])
    try:
        read = read_arrays(path)
    except VaclipError:
        return
    assert isinstance(read, dict | np.ndarray)
