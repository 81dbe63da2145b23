"""The state that collects a split, and the metrics of a whole split."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from vaclip import keys
from vaclip.metrics.modules import (
    PROBS,
    SplitPredictions,
    alignment_similarity,
    map_information,
    split_metrics,
)

K, E = 3, 4
RETRIEVAL_KEYS = [
    f"{prefix}_{value}_{way}"
    for prefix in ("retrieval", "retrieval_unique")
    for value in ("r1", "r5", "median_rank")
    for way in ("v2a", "a2v", "chance")
]
ALIGNMENT_KEYS = [f"align_sim_{name}" for name in ("correct", "incorrect", "gap", "corr")]
# Patient, label and number of segments of each clip; patient 3 has clips of two labels.
CLIPS = [(0, 0, 2), (0, 0, 1), (1, 1, 3), (2, 2, 1), (2, 2, 2), (3, 0, 1), (3, 1, 2), (4, 2, 2)]


def split(seed=0):
    """Segments of a split: the batch's columns and the model's outputs, in clip order."""
    generator = torch.Generator().manual_seed(seed)
    rows = [(c, s, p, y) for c, (p, y, n) in enumerate(CLIPS) for s in range(n)]
    clip, segment, patient, label = torch.tensor(rows).unbind(dim=1)
    valid = torch.rand(len(rows), generator=generator) > 0.3
    valid[clip == 3] = False
    embeds = torch.randn(2, len(rows), E, generator=generator)
    video, attn = embeds / embeds.norm(dim=-1, keepdim=True)
    batch = {
        keys.CLIP_ROW: clip,
        keys.SEGMENT: segment,
        keys.PATIENT: patient,
        keys.SESSION: patient,
        keys.LABEL: label,
        keys.MAP_ID: clip // 2,
        keys.ATTN_VALID: valid,
    }
    logits = 2 * torch.randn(len(rows), K, generator=generator)
    return batch, {keys.LOGITS: logits, keys.VIDEO_EMBED: video, keys.ATTN_EMBED: attn}


def take(columns, rows):
    return {name: value[rows] for name, value in columns.items()}


def collected(rows, batch_size):
    batch, outputs = split()
    metric = SplitPredictions()
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        metric.update(take(batch, chosen), take(outputs, chosen))
    return metric


ALL = list(range(sum(n for _, _, n in CLIPS)))


def assert_whole_split(table):
    """Checks the table against the segments as they were made."""
    batch, outputs = split()
    for name, value in batch.items():
        np.testing.assert_array_equal(table[name], value.numpy(), err_msg=name)
    for name in (keys.VIDEO_EMBED, keys.ATTN_EMBED):
        np.testing.assert_array_equal(table[name], outputs[name].numpy(), err_msg=name)
    logits = outputs[keys.LOGITS].double().numpy()
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table[PROBS], probs, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 100])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_the_result_depends_on_neither_batch_size_nor_order(batch_size, seed):
    rows = ALL if seed is None else np.random.default_rng(seed).permutation(ALL).tolist()
    assert_whole_split(collected(rows, batch_size).compute())


def test_doubled_segments_are_dropped():
    assert_whole_split(collected([*ALL, *ALL[:3], ALL[-1]], 4).compute())


def test_two_processes_merged_are_one():
    """As a distributed sampler deals rows, the last one doubled to make the shares even."""
    first, second = collected(ALL[::2], 3), collected([*ALL[1::2], ALL[0]], 3)
    merged = SplitPredictions()
    for name in merged._defaults:
        setattr(merged, name, [*getattr(second, name), *getattr(first, name)])
    merged._update_count = 1
    assert_whole_split(merged.compute())


def test_reset_forgets():
    metric = collected(ALL[:4], 4)
    metric.compute()
    metric.reset()
    batch, outputs = split()
    metric.update(batch, outputs)
    assert_whole_split(metric.compute())


def test_half_precision_outputs_are_kept_as_single():
    batch, outputs = split()
    metric = SplitPredictions()
    metric.update(batch, {name: value.bfloat16() for name, value in outputs.items()})
    table = metric.compute()
    assert table[PROBS].dtype == np.float32
    np.testing.assert_allclose(table[PROBS].sum(axis=1), 1, rtol=1e-6)


def test_alignment_similarity_is_the_cosine_where_there_is_a_map():
    table = collected(ALL, 4).compute()
    similarity = alignment_similarity(table)
    for row, valid in enumerate(table[keys.ATTN_VALID]):
        video, attn = table[keys.VIDEO_EMBED][row], table[keys.ATTN_EMBED][row]
        cosine = float(video @ attn) / (np.linalg.norm(video) * np.linalg.norm(attn))
        expected = cosine if valid else math.nan
        assert similarity[row] == pytest.approx(expected, abs=1e-6, nan_ok=True)


# --- split_metrics -------------------------------------------------------------------------------


def mean_rows(rows_by_key):
    return {key: np.mean(rows, axis=0, dtype=np.float64) for key, rows in rows_by_key.items()}


def naive_log_loss(probs, labels):
    return -np.mean([math.log(row[label]) for row, label in zip(probs, labels, strict=True)])


@pytest.fixture
def table():
    return collected(ALL, 4).compute()


@pytest.fixture
def clip_probs(table):
    rows = defaultdict(list)
    for clip, probs in zip(table[keys.CLIP_ROW], table[PROBS], strict=True):
        rows[clip].append(probs)
    return mean_rows(rows)


def test_the_names(table):
    scores = "acc_micro acc_macro f1_macro auroc_macro auroc_micro log_loss".split()
    by_unit = {f"{unit}/{name}" for unit in ("clip", "patient") for name in scores}
    assert set(split_metrics(table)) == {*RETRIEVAL_KEYS, *ALIGNMENT_KEYS, *by_unit}


def test_per_clip(table, clip_probs):
    labels = [label for _, label, _ in CLIPS]
    probs = np.array([clip_probs[c] for c in range(len(CLIPS))])
    ours = split_metrics(table)
    assert ours["clip/acc_macro"] == pytest.approx(
        sk.balanced_accuracy_score(labels, probs.argmax(axis=1))
    )
    assert ours["clip/log_loss"] == pytest.approx(naive_log_loss(probs, labels))
    assert ours["clip/auroc_macro"] == pytest.approx(
        sk.roc_auc_score(labels, probs, multi_class="ovr")
    )


def test_a_patient_is_the_mean_of_clip_means_unless_their_labels_differ(table, clip_probs):
    cases = defaultdict(list)
    for clip, (patient, label, _) in enumerate(CLIPS):
        alone = clip if patient == 3 else None  # has clips of two labels
        cases[patient, alone, label].append(clip_probs[clip])
    means = mean_rows(cases)
    assert len(means) == 6
    labels = [label for *_, label in means]
    probs = np.array(list(means.values()))
    ours = split_metrics(table)
    assert ours["patient/acc_micro"] == pytest.approx(np.mean(probs.argmax(axis=1) == labels))
    assert ours["patient/log_loss"] == pytest.approx(naive_log_loss(probs, labels))
    assert ours["patient/f1_macro"] == pytest.approx(
        sk.f1_score(labels, probs.argmax(axis=1), average="macro")
    )


def clip_embeddings(table):
    """The clips with a valid map, in order, and both embeddings of each."""
    embeds = {keys.VIDEO_EMBED: defaultdict(list), keys.ATTN_EMBED: defaultdict(list)}
    for row, clip in enumerate(table[keys.CLIP_ROW]):
        if table[keys.ATTN_VALID][row]:
            for name, rows in embeds.items():
                rows[clip].append(table[name][row])
    means = {name: mean_rows(rows) for name, rows in embeds.items()}
    mapped = sorted(means[keys.VIDEO_EMBED])
    video, attn = (
        np.array([means[name][c] / np.linalg.norm(means[name][c]) for c in mapped])
        for name in embeds
    )
    return mapped, video, attn


def test_retrieval_and_alignment_are_per_clip_with_a_valid_map(table, clip_probs):
    mapped, video, attn = clip_embeddings(table)
    assert 3 not in mapped, "clip 3 has no valid map"
    ours = split_metrics(table)
    for way, similarity in (("v2a", video @ attn.T), ("a2v", attn @ video.T)):
        better = np.array([(row > row[i]).sum() for i, row in enumerate(similarity)])
        for k in (1, 5):
            assert ours[f"retrieval_r{k}_{way}"] == pytest.approx(np.mean(better < k))
            assert ours[f"retrieval_r{k}_chance"] == pytest.approx(min(1, k / len(mapped)))
        assert ours[f"retrieval_median_rank_{way}"] == np.median(better + 1)
    cosine = (video * attn).sum(axis=1)
    correct = np.array([clip_probs[c].argmax() == CLIPS[c][1] for c in mapped])
    assert 0 < correct.sum() < len(mapped)
    assert ours["align_sim_correct"] == pytest.approx(cosine[correct].mean())
    assert ours["align_sim_incorrect"] == pytest.approx(cosine[~correct].mean())
    assert ours["align_sim_gap"] == pytest.approx(cosine[correct].mean() - cosine[~correct].mean())
    assert ours["align_sim_corr"] == pytest.approx(np.corrcoef(cosine, correct)[0, 1])


def test_unique_retrieval_is_over_the_maps_of_the_clips_that_have_one(table):
    """The clips without a valid map are left out, and each other one keeps its own map."""
    mapped, video, attn = clip_embeddings(table)
    map_of = {clip: clip // 2 for clip in mapped}  # as `split` gives them
    maps = sorted(set(map_of.values()))
    assert len(maps) < len(mapped) < len(CLIPS)
    ours = split_metrics(table)
    for way, queries, others in (("v2a", video, attn), ("a2v", attn, video)):
        ranks = defaultdict(list)
        for clip, query in zip(mapped, queries, strict=True):
            similarity = {}
            for one in maps:
                own = [row for c, row in zip(mapped, others, strict=True) if map_of[c] == one]
                similarity[one] = query @ sum(own) / np.linalg.norm(sum(own))
            ordered = sorted(maps, key=lambda one: -similarity[one])
            ranks[map_of[clip]].append(1 + ordered.index(map_of[clip]))
        for k in (1, 5):
            recall = np.mean([np.mean([rank <= k for rank in ranks[one]]) for one in maps])
            assert ours[f"retrieval_unique_r{k}_{way}"] == pytest.approx(recall)
    assert ours["retrieval_unique_r1_chance"] == pytest.approx(1 / len(maps))
    assert ours["retrieval_unique_median_rank_chance"] == (len(maps) + 1) / 2


@pytest.mark.parametrize("without", [0, 1, 4, 7])
def test_maps_stay_with_their_clips_whichever_clip_has_none(without):
    """Each clip's embeddings say its map, so that a clip beside its map's row is not found."""
    maps = np.array([2, 0, 1, 0, 2, 1, 1, 0])
    table = collected(ALL, 4).compute()
    clips = np.array([number for number, (*_, n) in enumerate(CLIPS) for _ in range(n)])
    table[keys.CLIP_ROW] = 5 * clips + 3  # a fold holds some of the study's rows only
    table[keys.MAP_ID] = maps[clips]
    table[keys.ATTN_VALID] = clips != without
    table[keys.VIDEO_EMBED] = table[keys.ATTN_EMBED] = np.eye(4)[maps[clips]]
    ours = split_metrics(table)
    for way in ("v2a", "a2v"):
        assert ours[f"retrieval_unique_r1_{way}"] == 1
        assert ours[f"retrieval_unique_median_rank_{way}"] == 1


def test_without_any_valid_map_alignment_and_retrieval_are_nan(table):
    table[keys.ATTN_VALID][:] = False
    values = split_metrics(table)
    undefined = {name for name, value in values.items() if math.isnan(value)}
    assert undefined == {*RETRIEVAL_KEYS, *ALIGNMENT_KEYS}


def test_alignment_that_was_not_trained_is_nan(table):
    values = split_metrics(table, aligned=False)
    undefined = {name for name, value in values.items() if math.isnan(value)}
    assert undefined == {*RETRIEVAL_KEYS, *ALIGNMENT_KEYS}


def test_an_empty_split_is_nan_throughout(table):
    values = split_metrics({name: column[:0] for name, column in table.items()})
    assert all(map(math.isnan, values.values()))


@pytest.mark.parametrize(("even", "expected"), [(1, 1.0), (2, 2 / 3), (4, 1 / 3), (8, 0.0)])
def test_what_a_map_says_is_what_it_leaves_open_of_the_grid(even, expected):
    """A map that is even on some of eight tokens."""
    maps = torch.zeros(1, 1, 2, 2, 2)
    maps.view(-1)[:even] = 1 / even
    assert map_information(maps).item() == pytest.approx(expected, abs=1e-6)
