"""Runs on shards, and the shards of what a run would read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from vaclip.config import Config
from vaclip.console import progress_bar
from vaclip.data.shards import ShardFacts, open_shards
from vaclip.data.write_shards import write_shards
from vaclip.errors import VaclipError
from vaclip.features import EncoderInfo
from vaclip.runs.prepare import PreparedStudy
from vaclip.runs.tokens import frozen_encoder
from vaclip.settings import flat_settings
from vaclip.store import fetched_folder

_MIB = 1 << 20
# What decides the arrays of a clip.
_SAMPLED_BY = (
    "data.fps", "data.size", "data.combine", "data.keypoint_sigma", "data.annotators",
    "data.train_annotators", "data.test_annotators", "features.every", "features.grid",
)  # fmt: skip


def write_run_shards(config: Config, prepared: PreparedStudy) -> ShardFacts:
    """Writes what a run on tokens would read to ``data.shards``; finished shards stay.

    Raises:
        VaclipError: If the maps of the test patients are others, or other shards are there.
    """
    if prepared.test_items is not prepared.items:
        raise VaclipError(
            "shards hold one map a clip, and data.test_annotators gives test patients others than "
            "in training; name the annotators with data.annotators"
        )
    assert prepared.encoder is not None
    assert config.data.shards is not None
    first = prepared.items[0].cached.tokens
    assert first is not None
    info, features = prepared.encoder, config.features
    facts = ShardFacts(
        study=prepared.study.name,
        classes=[*prepared.study.classes],
        annotators=[*prepared.annotators],
        settings=sampling_settings(config),
        encoder=encoder_facts(info),
        step=first.step,
        token_shape=[*(features.grid or info.grid), info.channels],
        map_shape=[prepared.channels, *config.data.size],
        shards=[],
        index="",
        made_from="",
    )
    with progress_bar("Writing shards") as progress:
        return write_shards(
            config.data.shards,
            prepared.items,
            facts,
            shard_bytes=features.shard_mb * _MIB,
            progress=progress,
        )


def prepare_shards(config: Config) -> PreparedStudy:
    """Opens the shards that the settings name.

    Raises:
        VaclipError: If there are none, they were written with other settings or weights, or the
            settings name a study folder as well.
    """
    address, encoder = config.data.shards, frozen_encoder(config)
    assert address is not None
    assert encoder is not None
    if config.data.root:
        raise VaclipError(
            f"data.root={config.data.root} is not read beside data.shards, which holds all; leave "
            "one of them out"
        )
    shards = open_shards(address, fetched_folder(config.data.cache_dir))
    facts = shards.facts
    stated, written = sampling_settings(config), facts.settings
    if different := [key for key in _SAMPLED_BY if stated[key] != written.get(key)]:
        shown = " ".join(f"{key}={json.dumps(written.get(key))}" for key in different)
        raise VaclipError(
            f"the shards in {address} were written with other settings: use {shown}, or write "
            "others into another folder"
        )
    if facts.encoder != encoder_facts(encoder.info):
        raise VaclipError(
            f"the shards in {address} hold tokens of {facts.encoder['source']}, and "
            f"features.source names {encoder.info.name}, or other weights of it; use those that "
            "they were written with"
        )
    items = shards.items
    channels = facts.map_shape[0]
    return PreparedStudy(
        shards.study, items, items, tuple(facts.annotators), channels, encoder.info, facts.made_from
    )


def sampling_settings(config: Config) -> dict[str, Any]:
    """Returns what decides the arrays of a clip, by key."""
    settings = flat_settings(dataclasses.asdict(config))
    return {key: settings[key] for key in _SAMPLED_BY}


def encoder_facts(info: EncoderInfo) -> dict[str, Any]:
    """Returns what is known of an encoder, as JSON has it, without the folders of its path."""
    return json.loads(json.dumps(dataclasses.asdict(info) | {"source": info.name}))
