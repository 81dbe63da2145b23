from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from study_folder import write_study
from vaclip.errors import VaclipError
from vaclip.reports.cases import case_choices, gallery_cases
from vaclip.reports.gather import read_folder
from vaclip.reports.pseudonyms import pseudonyms


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_folder(write_study(tmp_path_factory.mktemp("study"), size=48))


@pytest.fixture(scope="module")
def cases(study):
    return gallery_cases(study, pseudonyms(study.clips, seed=0))


def pixels(picture) -> np.ndarray:
    kind, _, data = picture.uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), float)


def test_video_map_and_gate_lie_under_each_other(cases):
    titles = [strip.title for strip in cases[0].strips]
    assert titles == ["Video", "Clinician's map", "Model's gate"]
    assert len({pixels(strip).shape for strip in cases[0].strips}) == 1


def test_what_is_absent_is_said(cases):
    assert cases[1].missing == ("The model has no gate in space.",)
    assert cases[3].missing == ("No clinician annotated this clip.",)
    assert [strip.title for strip in cases[3].strips] == ["Video", "Model's gate"]


def test_an_overlay_is_seen_in_greyscale_where_the_map_is_and_nowhere_else(study, cases):
    plain, annotated = (pixels(strip)[:, :112] for strip in cases[0].strips[:2])
    attn = study.images("gallery/case_0.npz")["map"][0] / 255
    small = np.abs(np.asarray(Image.fromarray(plain - annotated).resize(attn.shape[::-1])))
    assert small[attn > 0.5].mean() > 25
    assert small[attn < 0.01].mean() < 6, "but for rounding to a few colours"


def test_cases_bear_pseudonyms_everywhere(cases):
    for case in cases:
        shown = [case.clip, *(s.alt for s in case.strips), *(n.clip for n in case.nearest)]
        shown += [near.picture.alt for near in case.nearest]
        assert not any("anna" in text for text in shown)


def test_probabilities_are_sorted_and_lead_to_the_diagnosis(cases):
    for case in cases:
        values = [value for _, value in case.probs]
        assert values == sorted(values, reverse=True)
        assert case.diagnosis == case.probs[0][0]
    assert cases[3].similarity == "undefined"


def test_no_gallery_no_cases(study):
    bare = type(study)(**{**vars(study), "gallery": None})
    assert gallery_cases(bare, pseudonyms(study.clips, seed=0)) == []


@pytest.mark.parametrize("file", ["../case.npz", "gallery/odd.npz"])
def test_a_case_outside_the_folder_or_without_pictures_is_an_error(study, file):
    np.savez(study.folder / "gallery" / "odd.npz", frames=np.zeros((1, 2, 2, 3)))
    case = {**study.gallery["cases"][0], "file": file}
    odd = type(study)(**{**vars(study), "gallery": {"cases": [case]}})
    with pytest.raises(VaclipError, match=r"leaves the study folder|needs frames"):
        gallery_cases(odd, pseudonyms(study.clips, seed=0))


def frames_of(layer, count) -> np.ndarray:
    kind, _, data = layer.uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), float)
    return np.stack(np.split(picture, count, axis=1))


def test_what_is_played_is_every_frame_in_colour_and_every_map_over_it(study, cases):
    own, arrays = cases[0], study.images("gallery/case_0.npz")
    assert [layer.title for layer in own.movie.layers] == [
        "Video",
        "Clinician's map",
        "Model's gate",
    ]
    assert own.movie.count == len(arrays["frames"])
    frames, attn, _ = (frames_of(layer, own.movie.count) for layer in own.movie.layers)
    assert frames.shape == (own.movie.count, 112, 112, 3)
    assert attn.shape == (own.movie.count, 40, 40)
    for played, given in ((frames, arrays["frames"]), (attn, arrays["map"])):
        means = [one.mean() for one in played]
        assert means == pytest.approx([one.mean() for one in given], abs=2)
    brightest = [np.unravel_index(one.argmax(), one.shape) for one in arrays["map"]]
    shown = [np.unravel_index(one.argmax(), one.shape) for one in attn]
    assert np.abs(np.array(shown) - np.array(brightest) * 40 / 48).max() <= 2


def test_cases_are_chosen_by_what_they_are(study, cases):
    assert [case.facets["alignment"] for case in cases] == ["lower half"] * 3 + ["undefined"]
    assert [case.facets["agreement"] for case in cases][1] == "undefined", "it has no gate"
    for case in cases:
        assert case.facets["class"] == case.label
        assert (case.facets["outcome"] == "right") == (case.diagnosis == case.label)
    choices = case_choices(cases)
    assert choices["alignment"] == (
        "Similarity of video and map", ["lower half", "undefined"]
    )  # fmt: skip
    assert "agreement" in choices
    assert case_choices([]) == {}
