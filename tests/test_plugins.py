"""Parts by name: built in, of installed packages, and by path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from vaclip import plugins
from vaclip.errors import VaclipError
from vaclip.importers import IMPORTERS
from vaclip.maps.source import KINDS
from vaclip.models import VideoAttentionCLIP
from vaclip.models.encoders import ENCODERS
from vaclip.models.encoders.cnn2d import CNN2D
from vaclip.models.guidance import GUIDANCE

REGISTRIES = (ENCODERS, GUIDANCE, KINDS, IMPORTERS)
PARTS = """
from vaclip.models.encoders.base import Encoded, VideoEncoder


class Mean(VideoEncoder):
    gives_tokens = False
    out_channels = 3

    def forward(self, video):
        return Encoded(video.mean(dim=(2, 3, 4)), None)


class NoForward(VideoEncoder):
    gives_tokens = False


class Silent(VideoEncoder):
    out_channels = 3

    def forward(self, video):
        return Encoded(video.mean(dim=(2, 3, 4)), None)


class OtherArguments(Mean):
    def __init__(self, layers):
        super().__init__()


class NoEncoder:
    pass


def function(width):
    return Mean(width)
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path, monkeypatch) -> Iterator[Install]:
    """Returns ``install(package, name=path, ...)`` of encoders; the module ``parts`` is `PARTS`."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "parts.py").write_text(PARTS)
    (site / "breaks.py").write_text("raise ImportError('no such GPU')")

    def add(package: str, **encoders: str) -> None:
        about = site / f"{package}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {path}" for name, path in encoders.items()]
        (about / "entry_points.txt").write_text("\n".join(["[vaclip.encoders]", *lines, ""]))
        plugins._installed.cache_clear()

    monkeypatch.syspath_prepend(str(site))
    plugins._installed.cache_clear()
    yield add
    plugins._installed.cache_clear()
    for name in ("parts", "breaks"):
        sys.modules.pop(name, None)


def message_of(name: str, registry: plugins.Registry = ENCODERS, **arguments: object) -> str:
    with pytest.raises(VaclipError) as caught:
        registry.build(name, **arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("registry", "name"), [(registry, name) for registry in REGISTRIES for name in registry.builtin]
)
def test_everything_built_in_is_there_and_vaclips_own(registry, name):
    assert issubclass(registry.load(name), registry.base)
    assert registry.package(name) is None


def test_each_group_is_one_of_the_documented():
    assert [r.group for r in REGISTRIES] == [
        "vaclip.encoders", "vaclip.guidance", "vaclip.maps", "vaclip.importers"
    ]  # fmt: skip


def test_an_installed_part_is_found_by_its_name(install):
    install("mine", mean="parts:Mean")
    assert ENCODERS.names() == [*ENCODERS.builtin, "mean"]
    assert "parts" not in sys.modules, "a name is listed without its module"
    assert ENCODERS.build("mean", width=4).out_channels == 3
    assert ENCODERS.package("mean") == "mine 1.2"


def test_a_package_that_is_broken_disturbs_no_other_name(install):
    install("mine", mean="nowhere:Mean")
    assert isinstance(ENCODERS.build("2dcnn", width=4), CNN2D)


def test_a_built_in_name_cannot_be_taken(install):
    install("mine", **{"2dcnn": "parts:Mean"})
    said = message_of("2dcnn", width=4)
    assert "'2dcnn' is the name of a part of vaclip itself and of mine 1.2" in said
    assert ENCODERS.build("3dcnn", width=4)


def test_two_packages_cannot_share_a_name(install):
    install("mine", mean="parts:Mean")
    install("yours", mean="parts:Mean")
    said = message_of("mean", width=4)
    assert "mine 1.2" in said
    assert "yours 1.2" in said


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere:Mean", "ModuleNotFoundError: No module named 'nowhere'"),
        ("parts:Means", "AttributeError: .*'Means'"),
        ("breaks:Mean", "ImportError: no such GPU"),
        ("parts:NoEncoder", "is no subclass of vaclip.models.encoders.base.VideoEncoder"),
        ("parts:function", "is no subclass of vaclip.models.encoders.base.VideoEncoder"),
        ("parts:NoForward", "lacks what .*VideoEncoder asks for: forward"),
        ("parts:OtherArguments", "must be built from width: .*'layers'"),
    ],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_a_part_that_cannot_be_used_is_explained(install, path, why, by_path):
    install("mine", wrong=path)
    said = message_of(path if by_path else "wrong", width=4)
    with pytest.raises(VaclipError, match=why):
        raise VaclipError(said)
    assert ("of the package mine 1.2" in said) == (not by_path)
    if "cannot be loaded" in said:
        assert ("PYTHONPATH" in said) == by_path


def test_a_class_anywhere_is_an_encoder(install):
    assert ENCODERS.build("parts:Mean", width=4).out_channels == 3
    assert ENCODERS.package("parts:Mean") is None
    model = VideoAttentionCLIP(2, clip_backbone="vaclip.models.encoders.cnn2d:CNN2D")
    assert isinstance(model.video_encoder, CNN2D)


@pytest.mark.parametrize("registry", [GUIDANCE, KINDS, IMPORTERS], ids=lambda r: r.group)
def test_other_parts_are_not_named_by_path(registry, install):
    assert "'breaks:Mean'; use one of" in message_of("breaks:Mean", registry)
    assert "breaks" not in sys.modules


def test_what_an_encoder_must_say_is_asked_for(install):
    with pytest.raises(VaclipError, match=r"'parts:Silent' does not set gives_tokens"):
        VideoAttentionCLIP(2, clip_backbone="parts:Silent")


def test_an_unknown_name_is_compared_with_the_installed_too(install):
    install("mine", average="parts:Mean")
    said = message_of("averag", width=4)
    assert said.startswith("model.clip_backbone is 'averag'; use one of 3dcnn, 2dcnn, cnn_lstm, ")
    assert said.endswith("Did you mean 'average'?")
