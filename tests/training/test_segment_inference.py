from __future__ import annotations

import pytest
import torch

from vaclip import keys
from vaclip.data.transforms import MEAN, STD
from vaclip.models import VideoAttentionCLIP
from vaclip.training.inference import predict_segments


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VideoAttentionCLIP(3, backbone_width=8, map_guided=True).eval()


@pytest.fixture(scope="module")
def segments():
    """Five segments with uint8 video and map; the fourth has no map."""
    draw = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 256, (5, 1, 4, 16, 16), dtype=torch.uint8, generator=draw)
    maps[3] = 0
    return [
        {
            keys.VIDEO: torch.randint(0, 256, (3, 4, 16, 16), dtype=torch.uint8, generator=draw),
            keys.ATTN_MAP: attn,
            keys.ATTN_VALID: attn.any().bool(),
            keys.SEGMENT: torch.tensor(number),
        }
        for number, attn in enumerate(maps)
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_outputs_are_those_of_each_segment_in_order(model, segments, batch_size):
    found = list(predict_segments(model, segments, batch_size))
    numbers = torch.cat([batch[keys.SEGMENT] for batch, _ in found])
    assert numbers.tolist() == [0, 1, 2, 3, 4]
    assert {len(batch[keys.SEGMENT]) for batch, _ in found[:-1]} <= {batch_size}
    logits = torch.cat([outputs[keys.LOGITS] for _, outputs in found])
    for segment, own in zip(segments, logits, strict=True):
        video = (segment[keys.VIDEO].float() / 255 - MEAN) / STD
        attn = segment[keys.ATTN_MAP].float() / 255
        with torch.no_grad():
            alone = model(video[None], attn[None], segment[keys.ATTN_VALID][None])
        torch.testing.assert_close(own, alone[keys.LOGITS][0], rtol=1e-4, atol=1e-5)


def test_no_gradient_is_kept_and_the_caller_still_has_its_own(model, segments):
    for _, outputs in predict_segments(model, segments, 2):
        assert outputs[keys.LOGITS].is_inference()
        assert torch.is_grad_enabled()


def test_embeddings_are_made_where_they_are_asked_for(model, segments):
    for embed in (True, False):
        ((_, outputs),) = predict_segments(model, segments, 5, embed=embed)
        assert (keys.VIDEO_EMBED in outputs) == embed
