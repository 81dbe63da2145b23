"""The model alone, on random numbers: what goes in, what comes out.

python examples/use_the_model.py
"""

import torch

from vaclip import keys
from vaclip.losses import ClipLoss, CompositeLoss
from vaclip.models import VideoAttentionCLIP


def main() -> None:
    model = VideoAttentionCLIP(model_class_num=3, map_guided=True, map_guided_type="spatiotemporal")
    video = torch.randn(4, 3, 16, 96, 96)  # (B, 3, T, H, W), normalised
    attn_map = torch.rand(4, 1, 16, 96, 96)  # (B, C, T, H, W) in [0, 1]
    attn_valid = torch.tensor([True, True, True, False])  # the last clip was annotated by nobody

    outputs = model(video, attn_map, attn_valid)
    for name, value in outputs.items():
        print(f"{name:14s} {tuple(value.shape)}")

    label = torch.tensor([0, 1, 2, 0])
    map_id = torch.tensor([0, 1, 0, -1])  # clips 0 and 2 were given the same annotation
    patient = torch.tensor([0, 1, 2, 2])
    loss = CompositeLoss(clip_weight=1.0, clip=ClipLoss("same_map"))
    facts = loss.clip.pair_facts(attn_valid, map_id, patient, attn_map)
    terms = loss(outputs, label, facts)
    terms[keys.LOSS_TOTAL].backward()
    print({name: round(value.item(), 3) for name, value in terms.items()})


if __name__ == "__main__":
    main()
