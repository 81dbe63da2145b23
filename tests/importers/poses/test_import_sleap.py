from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from vaclip.commands.imports import import_parser
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.importers.poses import hdf5, read_hdf5

CSV = (
    "track,frame_idx,instance.score,hip.x,hip.y,hip.score,knee.x,knee.y,knee.score\n"
    ",0,0.9,1,2,0.5,3,4,0.25\n"
    ",2,,5.5,6,,,,\n"
)


@pytest.fixture
def read(tmp_path):
    def read(name, *flags):
        path = tmp_path / name
        options = import_parser().parse_args(["sleap", str(path), "--into", "s", *flags])
        return IMPORTERS.build("sleap").read([path], options)

    return read


@pytest.fixture
def read_csv(read, tmp_path):
    def read_csv(text=CSV, *flags, name="walk_01.csv"):
        (tmp_path / name).write_text(text)
        return read(name, *flags)

    return read_csv


@pytest.fixture
def write(tmp_path):
    """Writes two tracks of two nodes and three frames, as SLEAP does; arguments replace parts."""

    def write(name="x.analysis.h5", **parts):
        tracks = np.full((2, 2, 2, 3), np.nan)
        tracks[0, :, :, 0] = [[1, 3], [2, 4]]  # xy, nodes
        tracks[1, :, :, 0] = [[11, 13], [12, 14]]
        tracks[1, :, 0, 2] = 15, 16
        scores = np.full((2, 2, 3), np.nan)
        scores[0, :, 0] = 0.5, 0.25
        scores[1, 0, 2] = 0.75
        content = {
            "tracks": tracks, "point_scores": scores,
            "track_occupancy": ~np.isnan(tracks).all((1, 2)).T,
            "track_names": np.array([b"ann", b"bob"]), "node_names": np.array([b"hip", b"knee"]),
        } | parts  # fmt: skip
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in content.items():
                if value is not None:
                    file[key] = value
        return tmp_path / name

    return write


class TestCsv:
    def test_rows_become_people(self, read_csv):
        export = read_csv()
        (pose,) = export.poses
        assert (pose.video, pose.open_ended, export.keypoint_names) == (
            "walk_01", True, ("hip", "knee"),
        )  # fmt: skip
        # Somebody labelled frame 2: coordinates without a score.
        assert pose.keypoints.tolist() == [
            [[1, 2, 0.5], [3, 4, 0.25]], [[0] * 3] * 2, [[5.5, 6, 1], [0, 0, 0]],
        ]  # fmt: skip

    def test_tracks_tell_people_apart(self, read_csv):
        text = CSV.replace(",2,,5.5", "bob,2,,5.5").replace(",0,0.9", "ann,0,0.9")
        assert read_csv(text).poses[0].keypoints[:, 0, 0].tolist() == [0, 0, 5.5]
        ann = read_csv(text, "--person", "ann").poses[0]
        assert ann.keypoints[:, 0, 0].tolist() == [1, 0, 0]

    @pytest.mark.parametrize(
        ("name", "video"),
        [
            ("gait.v003.001_walk_01.analysis.csv", "walk_01"), ("walk_01.analysis.csv", "walk_01"),
            ("gait.000_000_a.b.analysis.csv", "000_a.b"), ("001_.csv", "001_"),
            ("walk.csv", "walk"),
        ],
    )  # fmt: skip
    def test_the_file_name_says_the_video(self, read_csv, name, video):
        assert read_csv(name=name).poses[0].video == video
        assert read_csv(CSV, "--video", "other", name=name).poses[0].video == "other"

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("frame_idx", "frame", r"there is no column 'frame_idx'"),
            ("hip.y", "hip.z", r"there is no column 'hip\.y'"),
            (".x", ".u", "columns NODE.x: expected names of joints"),
            (",2,,5.5", ",2.5,,5.5", r"walk_01\.csv:3: '2\.5' is no frame number"),
            (",2,,5.5", ",9999999,,5.5", r"walk_01\.csv:3: .*at most 1000000"),
            ("5.5", "wide", r"walk_01\.csv:3: could not convert"),
            (CSV.partition("\n")[2], "", "no row below the header"),
        ],
    )
    def test_what_is_wrong_is_named(self, read_csv, old, new, message):
        assert old in CSV
        with pytest.raises(VaclipError, match=message):
            read_csv(CSV.replace(old, new))


class TestHdf5:
    def test_arrays_become_people(self, read, write):
        write(video_path="/data/walk_01.mp4")
        export = read("x.analysis.h5", "--person", "ann")
        (pose,) = export.poses
        assert (pose.video, pose.open_ended, export.keypoint_names) == (
            "/data/walk_01.mp4", True, ("hip", "knee"),
        )  # fmt: skip
        assert pose.keypoints[0].tolist() == [[1, 2, 0.5], [3, 4, 0.25]]
        assert not pose.keypoints[1:].any()
        # bob was labelled in frame 0, so without scores: 1 + 1 + 0.75 against 0.5 + 0.25.
        keypoints = read("x.analysis.h5").poses[0].keypoints
        assert keypoints.tolist() == [
            [[11, 12, 1], [13, 14, 1]], [[0] * 3] * 2, [[15, 16, 0.75], [0, 0, 0]],
        ]  # fmt: skip

    def test_axes_may_stand_in_another_order(self, read, write):
        path = write()
        before = read(path.name).poses[0].keypoints
        with h5py.File(path, "r+") as file:
            for key, order in (("tracks", (3, 0, 2, 1)), ("point_scores", (2, 0, 1))):
                values = file[key][()].transpose(order)
                del file[key]
                file.create_dataset(key, data=values, compression="gzip", shuffle=True)
            file["tracks"].attrs["dims"] = json.dumps(["frame", "track", "node", "xy"])
        np.testing.assert_array_equal(read(path.name).poses[0].keypoints, before)

    def test_one_person_without_a_track(self, read, write):
        write(
            "gait.000_v.analysis.h5", track_names=np.array([], "S1"), video_path="",
            tracks=np.ones((1, 2, 2, 1)), point_scores=np.full((1, 2, 1), 0.5),
        )  # fmt: skip
        (pose,) = read("gait.000_v.analysis.h5").poses
        assert (pose.video, pose.keypoints.tolist()) == ("v", [[[1, 1, 0.5]] * 2])

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            ({"tracks": None}, "there is no dataset 'tracks' in it; is it SLEAP's"),
            ({"tracks": h5py.ExternalLink("y.h5", "/tracks")}, "no dataset 'tracks'"),
            ({"tracks": h5py.SoftLink("/point_scores")}, "no dataset 'tracks'"),
            ({"tracks": np.zeros((2, 3, 2, 3))}, r"'tracks' has shape \(2, 3, 2, 3\)"),
            ({"point_scores": np.zeros((2, 3))}, r"'point_scores' \(2, 3\)"),
            ({"point_scores": np.zeros((2, 2, 4))}, "do not fit 2 tracks and 2 nodes"),
            ({"node_names": np.array([b"hip"])}, "do not fit 2 tracks and 1 nodes"),
            ({"node_names": np.array([1, 2])}, "'node_names' holds no texts"),
            ({"node_names": np.array([b"hip", b"\xff"])}, "the text cannot be read"),
            ({"tracks": np.zeros((2, 2, 2, 3), "S1")}, "'/tracks' holds no numbers"),
        ],
    )
    def test_what_is_wrong_is_named(self, read, write, parts, message):
        write(**parts)
        with pytest.raises(VaclipError, match=rf"x\.analysis\.h5: .*{message}"):
            read("x.analysis.h5")

    def test_claimed_sizes_are_looked_at_before_memory_is_taken(self, read, write):
        path = write(tracks=None)
        with h5py.File(path, "r+") as file:
            shape = (10**6, 2, 10**4, 10**5)
            file.create_dataset("tracks", shape, "f8", chunks=(1, 2, 10, 10))
        with pytest.raises(VaclipError, match="'tracks' has more than 67108864 values"):
            read(path.name)

    def test_datasets_in_other_files_are_refused(self, read, write, tmp_path):
        path = write(tracks=None)
        (tmp_path / "secret").write_bytes(bytes(192))
        with h5py.File(path, "r+") as file:
            file.create_dataset(
                "tracks", (2, 2, 2, 3), "f8", external=[(str(tmp_path / "secret"), 0, 192)]
            )
        with pytest.raises(VaclipError, match="'tracks' lies in another file"):
            read(path.name)

    @pytest.mark.parametrize("dims", ["[", '"x"', '["frame", "track", "node", "node"]'])
    def test_axes_that_make_no_sense(self, read, write, dims):
        path = write()
        with h5py.File(path, "r+") as file:
            file["tracks"].attrs["dims"] = dims
        with pytest.raises(VaclipError, match="'dims' of 'tracks'"):
            read(path.name)

    def test_damaged_files_are_refused(self, read, write):
        path = write()
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(VaclipError, match=r"x\.analysis\.h5: cannot be read as HDF5"):
            read(path.name)

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("while True: pass", "not read within 1 s; is it damaged"),
            ("import os; os.abort()", "cannot be read as HDF5: the reader crashed"),
        ],
    )
    def test_a_library_that_hangs_or_crashes_does_no_harm(
        self, read, write, monkeypatch, code, message
    ):
        run = subprocess.run

        def instead(command, **more):
            return run([sys.executable, "-c", code], **more)

        monkeypatch.setattr(hdf5.subprocess, "run", instead)
        monkeypatch.setattr(hdf5, "_SECONDS", 1)
        write()
        with pytest.raises(VaclipError, match=message):
            read("x.analysis.h5")

    def test_without_h5py_it_says_what_to_install(self, read, write, monkeypatch):
        write()
        monkeypatch.setattr(hdf5, "find_spec", lambda name: None)
        with pytest.raises(VaclipError, match=r"pip install 'vaclip\[hdf5\]'"):
            read("x.analysis.h5")

    def test_unusual_filters_are_refused(self, write):
        path = write(tracks=None)
        with h5py.File(path, "r+") as file:
            file.create_dataset("tracks", data=np.zeros((2, 2, 2, 3)), compression="lzf")
        with pytest.raises(ValueError, match="packed in an unusual way"):
            read_hdf5.read(path.read_bytes(), "sleap")
