"""What is trained on frozen tokens: augmented in training alone, and not blind to motion."""

from __future__ import annotations

import pytest
import torch

from vaclip import VaclipError, keys
from vaclip.models import VideoAttentionCLIP
from vaclip.models.encoders.features import FrozenFeatures


def encoder_of(**options):
    torch.manual_seed(0)
    return FrozenFeatures(8, **{"channels": 6, **options})


TOKENS = torch.randn(4, 6, 5, 3, 3, generator=torch.Generator().manual_seed(1))


def test_the_grid_is_kept_and_the_width_is_learned():
    encoded = encoder_of()(TOKENS)
    assert encoded.tokens.shape == (4, 8, 5, 3, 3)
    assert (encoded.tokens >= 0).all()


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"noise": 0.5}])
def test_training_alone_is_augmented(options):
    encoder, plain = encoder_of(**options), encoder_of()
    assert not torch.equal(encoder(TOKENS).pooled, plain(TOKENS).pooled)
    assert not torch.equal(encoder(TOKENS).pooled, encoder(TOKENS).pooled)
    assert torch.equal(plain(TOKENS).pooled, plain(TOKENS).pooled)
    encoder.eval(), plain.eval()
    encoder.load_state_dict(plain.state_dict())
    assert torch.equal(encoder(TOKENS).pooled, plain(TOKENS).pooled)


def test_noise_is_measured_in_standard_deviations_of_a_channel():
    encoder = encoder_of(noise=0.25)
    seen = []
    encoder.mix.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    scaled = 100 * torch.randn(64, 6, 4, 4, 4)
    torch.manual_seed(3)
    encoder(scaled)
    encoder.noise = 0.0
    encoder(scaled)
    noisy, plain = seen
    both = (noisy > 0) & (plain > 0.8)  # where the ReLU cuts neither
    assert (noisy - plain)[both].std().item() == pytest.approx(0.25, rel=0.05)


def test_the_order_in_time_is_seen():
    encoder = encoder_of().eval()
    assert not torch.allclose(encoder(TOKENS).pooled, encoder(TOKENS.flip(2)).pooled, atol=1e-4)


def test_the_model_reads_tokens_and_its_guidance_acts_on_them():
    torch.manual_seed(0)
    model = VideoAttentionCLIP(
        3, clip_backbone="features", backbone_width=8, backbone_options={"channels": 6},
        map_guided=True, map_guided_type="weighted_pool",
    ).eval()  # fmt: skip
    attn_map = torch.zeros(4, 1, 10, 12, 12)
    attn_map[:, :, :2, :4, :4] = 1  # exactly the first token of a grid of 5 x 3 x 3
    outputs = model(TOKENS, attn_map)
    assert outputs[keys.VIDEO_TOKENS].shape == (4, 8, 5, 3, 3)
    wanted = model.video_feature(outputs[keys.VIDEO_TOKENS][..., 0, 0, 0])
    torch.testing.assert_close(outputs[keys.VIDEO_FEAT], wanted)


def test_options_that_a_backbone_does_not_take():
    with pytest.raises(VaclipError, match=r"'3dcnn' must be built from width, channels"):
        VideoAttentionCLIP(3, backbone_options={"channels": 6})
