"""What lies in the cache, by study and source, and what is removed of it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from features.encoders import MeanEncoder
from vaclip.commands.main import main
from vaclip.data.cache import SampleSettings, cache_study, clip_cache
from vaclip.data.cache_content import cache_entries, remove_entries
from vaclip.features.cache import TokenSettings, cache_tokens
from vaclip.store import open_store
from vaclip.study.load import load_study


@pytest.fixture
def filled(tiny_study, tmp_path):
    """A cache with two studies, of which one has the tokens of two encoders."""
    setting = str(tmp_path / "cache")
    root = clip_cache(setting)
    for patients, name in ((1, "one"), (2, "other")):
        folder = tiny_study(patients_per_class=patients)
        head = (folder / "study.yaml").read_text()
        (folder / "study.yaml").write_text(head.replace("name: tiny", f"name: {name}"))
        study = load_study(folder)
        settings = SampleSettings(10, (16, 16), ("ann",))
        clips = cache_study(study, settings, root, workers=1)
    for source in ("means", "others"):
        encoder = MeanEncoder(source=source, weights=source)
        cache_tokens(clips[:2], encoder, TokenSettings(10), root, study=study.name, workers=1)
    unfinished = next(root.glob("clips/*")) / ".tmp-abc"
    unfinished.mkdir()
    (unfinished / "frames.npy").write_bytes(b"half")
    for path in (unfinished / "frames.npy", unfinished):
        os.utime(path, (1, 1))  # long ago
    (tmp_path / "cache/synthetic_gait/0123").mkdir(parents=True)
    (tmp_path / "cache/synthetic_gait/0123/clips.csv").write_text("clip_id\n")
    store = open_store("memory://shards", tmp_path / "cache/fetched")
    store.write("0.tar", b"shard")
    store.fetch("0.tar", hashlib.sha256(b"shard").hexdigest())
    return setting


def counts(setting):
    return Counter((entry.kind, entry.study, entry.source) for entry in cache_entries(setting))


WHOLE = {
    ("clips", "one", ""): 3, ("clips", "other", ""): 6,
    ("maps", "one", ""): 3, ("maps", "other", ""): 6,
    ("tokens", "other", "means"): 2, ("tokens", "other", "others"): 2,
    ("unfinished", "", ""): 1, ("cohort", "", ""): 1, ("fetched", "", ""): 1,
}  # fmt: skip


def test_everything_is_listed_with_its_size(filled):
    assert counts(filled) == WHOLE
    for entry in cache_entries(filled):
        files = [path for path in (entry.path, *entry.path.rglob("*")) if path.is_file()]
        assert entry.size == sum(path.stat().st_size for path in files) > 0


def test_what_is_chosen_is_removed_and_nothing_else(filled):
    chosen = [entry for entry in cache_entries(filled) if entry.source == "means"]
    assert remove_entries(chosen) == sum(entry.size for entry in chosen)
    left = {key: number for key, number in WHOLE.items() if key[2] != "means"}
    assert counts(filled) == left


def test_a_damaged_note_is_of_no_known_study(filled):
    entry = next(entry for entry in cache_entries(filled) if entry.study == "one")
    (entry.path / "meta.json").write_text("{")
    assert counts(filled)[entry.kind, "", ""] == 1


def test_what_is_being_written_stays(filled, capsys):
    (entry,) = (entry for entry in cache_entries(filled) if entry.kind == "unfinished")
    os.utime(entry.path / "frames.npy")
    assert remove_entries([entry]) == 0
    assert (entry.path / "frames.npy").exists()
    _, said, _ = cache(capsys, filled, "--all", "--remove")
    assert "What is unfinished stays for an hour" in said
    assert counts(filled) == {("unfinished", "", ""): 1}


def test_what_others_remove_meanwhile_is_not_counted(filled, monkeypatch):
    real = Path.stat

    def stat(path, **options):
        if path.name == "frames.npy":
            path.unlink(missing_ok=True)
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert counts(filled) == WHOLE
    entry = next(entry for entry in cache_entries(filled) if entry.kind == "clips")
    remove_entries([entry, entry])
    assert not entry.path.exists()


# --- the command ---------------------------------------------------------------------------------


def cache(capsys, filled, *words):
    with pytest.raises(SystemExit) as ended:
        main(["cache", "--cache-dir", filled, *words])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def test_the_command_lists_by_kind_study_and_source(filled, capsys):
    code, said, _ = cache(capsys, filled)
    assert code == 0
    rows = [line.split() for line in said.splitlines()]
    for (kind, study, source), number in WHOLE.items():
        assert any(
            [cell for cell in row if cell != "│"][:4]
            == [kind, study or "-", source or "-", str(number)]
            for row in rows
        )
    assert counts(filled) == WHOLE


@pytest.mark.parametrize(
    ("words", "goes"),
    [
        (["--study", "other"], lambda kind, study, source: study == "other"),
        (["--source", "others"], lambda kind, study, source: source == "others"),
        (["--kind", "unfinished"], lambda kind, study, source: kind == "unfinished"),
        (["--study", "other", "--kind", "maps"], lambda k, s, _: (k, s) == ("maps", "other")),
        (["--study", "-"], lambda kind, study, source: study == ""),
        (["--all"], lambda kind, study, source: True),
    ],
)
def test_the_command_removes_what_the_flags_choose(filled, capsys, words, goes):
    code, said, _ = cache(capsys, filled, *words, "--remove")
    assert code == 0
    assert "Removed: " in said
    assert counts(filled) == {key: number for key, number in WHOLE.items() if not goes(*key)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--remove"], "--remove needs --kind, --study or --source, or --all"),
        (["--kind", "token"], "Did you mean 'tokens'?"),
    ],
)
def test_mistakes_remove_nothing(filled, capsys, words, told):
    code, _, said = cache(capsys, filled, *words)
    assert code == 1
    assert told in said
    assert counts(filled) == WHOLE


def test_an_empty_cache(tmp_path, capsys):
    code, said, _ = cache(capsys, str(tmp_path / "none"))
    assert code == 0
    assert "all" in said
