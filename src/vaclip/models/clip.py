"""VideoAttentionCLIP: a video encoder and a map encoder that meet in one embedding space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vaclip import keys
from vaclip.errors import VaclipError, did_you_mean
from vaclip.models.encoders import ENCODERS, Encoded, VideoEncoder
from vaclip.models.guidance import (
    GUIDANCE,
    Guidance,
    MapGate,
    WeightedPoolGuidance,
    token_weights,
)
from vaclip.models.heads import AttentionEncoder, ProjectionHead
from vaclip.models.map_head import MAP_HEADS, MAP_SOURCES, MapHead, RidgeHead, guiding_map

CLASSIFIER_SOURCES = ("video", "attn", "fusion")


class VideoAttentionCLIP(nn.Module):
    """Aligns videos with attention maps, and diagnoses.

    Args:
        model_class_num: K.
        clip_backbone: One of `ENCODERS`, or ``package.module:Class``.
        clip_feature_dim: F.
        clip_embed_dim: E.
        attn_in_channels: C of the attention map.
        map_guided: Whether the map acts on the video features.
        map_guided_type: How, one of `GUIDANCE`, for backbones that give tokens. For the others
            a gate from the map's average scales the video feature.
        map_guided_hidden_dim: Width of the MLP of a gate from the map's average, and of the head
            that predicts a map.
        map_guided_sigmoid_gate: For ``spatiotemporal``: a learned instead of a linear gate.
        map_guided_global: Whether the plain mean of the tokens is kept beside the guided one: the
            video feature then reads that mean, and by how much the guided one differs from it.
        map_source: Whose map guides: the ``given`` one; one that the model ``predicted`` from its
            tokens, whatever is given; or ``mixed``, the given one where it is valid and not
            constant, else the predicted one.
        map_head: What predicts it: one that is ``trained``, or a ``ridge`` regression on frozen
            tokens.
        map_temperature: Of the predicted map, see `MapHead`.
        clip_classifier_source: The diagnosis reads the feature of the ``video``, of the map
            (``attn``), or the average of both (``fusion``; that of the video alone where the map
            is invalid).
        backbone_width: Channels of the video encoder's first layer.
        backbone_options: What else the video encoder is built from, as ``features`` is.

    Raises:
        VaclipError: If a name is unknown, or what has it is no such part.

    Examples:
        >>> import torch
        >>> model = VideoAttentionCLIP(model_class_num=3, map_guided=True).eval()
        >>> outputs = model(torch.rand(2, 3, 8, 32, 32), torch.rand(2, 1, 8, 32, 32))
        >>> outputs["logits"].shape, outputs["video_embed"].shape
        (torch.Size([2, 3]), torch.Size([2, 256]))
    """

    def __init__(
        self,
        model_class_num: int,
        *,
        clip_backbone: str = "3dcnn",
        clip_feature_dim: int = 512,
        clip_embed_dim: int = 256,
        attn_in_channels: int = 1,
        map_guided: bool = False,
        map_guided_type: str = "spatiotemporal",
        map_guided_hidden_dim: int = 128,
        map_guided_sigmoid_gate: bool = False,
        map_guided_global: bool = False,
        map_source: str = "given",
        map_head: str = "trained",
        map_temperature: float = 1.0,
        clip_classifier_source: str = "video",
        backbone_width: int = 16,
        backbone_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        GUIDANCE.load(map_guided_type)  # a wrong name is told even where no map guides
        for key, name, known in (
            ("clip_classifier_source", clip_classifier_source, CLASSIFIER_SOURCES),
            ("map_source", map_source, MAP_SOURCES),
            ("map_head", map_head, MAP_HEADS),
        ):
            if name not in known:
                raise VaclipError(
                    f"model.{key} is '{name}'; use one of {', '.join(known)}."
                    f"{did_you_mean(name, known)}"
                )
        self.classifier_source = clip_classifier_source
        self.map_source = map_source
        self.video_encoder = ENCODERS.build(
            clip_backbone, width=backbone_width, **(backbone_options or {})
        )
        _check_encoder(
            self.video_encoder,
            clip_backbone,
            map_source=map_source,
            map_guided_global=map_guided_global,
        )
        channels = self.video_encoder.out_channels
        self.guidance: Guidance | None = None
        self.map_gate: MapGate | None = None
        if map_guided and self.video_encoder.gives_tokens:
            self.guidance = GUIDANCE.build(
                map_guided_type,
                channels=channels,
                attn_in_channels=attn_in_channels,
                hidden_dim=map_guided_hidden_dim,
                sigmoid_gate=map_guided_sigmoid_gate,
            )
        elif map_guided:
            self.map_gate = MapGate(clip_feature_dim, attn_in_channels, map_guided_hidden_dim)
        self.map_head: MapHead | RidgeHead | None = None
        if map_source != "given" and map_head == "ridge":
            self.map_head = RidgeHead((backbone_options or {})["channels"])
        elif map_source != "given":
            self.map_head = MapHead(channels, map_guided_hidden_dim, map_temperature)
        self.video_feature = nn.Sequential(nn.Linear(channels, clip_feature_dim), nn.ReLU())
        self.guided_feature: nn.Linear | None = None
        if map_guided_global and self.guidance is not None:
            self.guided_feature = nn.Linear(channels, clip_feature_dim, bias=False)
        self.attn_encoder = AttentionEncoder(attn_in_channels, clip_feature_dim)
        self.video_projection = ProjectionHead(clip_feature_dim, clip_embed_dim)
        self.attn_projection = ProjectionHead(clip_feature_dim, clip_embed_dim)
        self.classifier = nn.Linear(clip_feature_dim, model_class_num)

    @property
    def diagnosis_needs_map(self) -> bool:
        """Whether there is no diagnosis without a given map."""
        guided = self.guidance is not None or self.map_gate is not None
        return (guided and self.map_source == "given") or self.classifier_source != "video"

    def freeze_unused(self, *, align: bool, token_loss: bool, map_loss: bool = False) -> None:
        """Freezes what gets no gradient, so that DDP does not wait for it.

        Args:
            align: Whether the CLIP term is in the loss.
            token_loss: Whether the token term is in the loss.
            map_loss: Whether the map term is in the loss.
        """
        reads_video = align or self.classifier_source != "attn"
        if self.map_head is not None and not (
            map_loss or (self.guidance is not None and reads_video)
        ):
            self.map_head.requires_grad_(False)
        if align:
            return
        unused: list[nn.Module | None] = [self.video_projection, self.attn_projection]
        if self.classifier_source == "video":
            unused.append(self.attn_encoder)
        if self.classifier_source == "attn":
            unused += [self.video_feature, self.guided_feature, self.guidance, self.map_gate]
            unused.append(None if token_loss or map_loss else self.video_encoder)
        for module in unused:
            if module is not None:
                module.requires_grad_(False)

    def forward(
        self,
        video: Tensor,
        attn_map: Tensor,
        attn_valid: Tensor | None = None,
        *,
        map_given: Tensor | None = None,
        embed: bool = True,
    ) -> dict[str, Tensor]:
        """Runs the model.

        Args:
            video: (B, 3, T, H, W), normalised; or what else the video encoder takes, as
                ``features`` takes frozen tokens. Without any value where the diagnosis reads the
                map alone: nothing is then made of it.
            attn_map: (B, C, T, H, W) in [0, 1].
            attn_valid: (B,) bool; absent means that all are valid.
            map_given: (B,) bool, of ``mixed`` and ``predicted``: which segments ``attn_map`` guides
                where it is valid; absent means all for ``mixed``, and none for ``predicted``.
            embed: Whether to make the embeddings. Without them, the map encoder runs only
                where the diagnosis reads it.

        Returns:
            The outputs that `vaclip.keys` describes, by their keys.
        """
        if not video.numel() and self.classifier_source == "attn":
            feature = self.attn_encoder(attn_map)
            return {keys.ATTN_FEAT: feature, keys.LOGITS: self.classifier(feature)}
        encoded = self.video_encoder(video)
        return self.read(
            encoded, attn_map, attn_valid, video=video, map_given=map_given, embed=embed
        )

    def read(
        self,
        encoded: Encoded,
        attn_map: Tensor,
        attn_valid: Tensor | None = None,
        *,
        video: Tensor,
        map_given: Tensor | None = None,
        embed: bool = True,
    ) -> dict[str, Tensor]:
        """Runs the model on what its video encoder made of a video, see `forward`."""
        pooled, tokens = encoded
        if attn_valid is None:
            attn_valid = torch.ones(len(pooled), dtype=torch.bool, device=pooled.device)
        outputs: dict[str, Tensor] = {}
        if tokens is not None:
            outputs[keys.VIDEO_TOKENS] = tokens
        if self.map_head is not None and tokens is not None:
            frozen = isinstance(self.map_head, RidgeHead)
            outputs[keys.PREDICTED_MAP] = self.map_head(video if frozen else tokens)
        guided = None
        if self.guidance is not None and tokens is not None:
            guided = self._guide(tokens, attn_map, attn_valid, map_given, outputs)
        video_feat = self._video_feature(pooled, guided)
        if self.map_gate is not None:
            video_feat = video_feat * self.map_gate(attn_map, attn_valid)
        outputs[keys.VIDEO_FEAT] = video_feat
        if embed or self.classifier_source != "video":
            outputs[keys.ATTN_FEAT] = self.attn_encoder(attn_map)
        if embed:
            outputs[keys.VIDEO_EMBED] = self.video_projection(video_feat)
            outputs[keys.ATTN_EMBED] = self.attn_projection(outputs[keys.ATTN_FEAT])
        outputs[keys.LOGITS] = self.classifier(self._diagnosis_feature(outputs, attn_valid))
        return outputs

    def place_gate(
        self, segments: tuple[Tensor, Tensor, Tensor], outputs: dict[str, Tensor]
    ) -> Tensor | None:
        """Returns the weights in [0, 1] that guidance gives to places; None where it gives none.

        Args:
            segments: What it was called with: video, map, and whether that is valid.
            outputs: What it made of them.

        Returns:
            (B, 1, T', H', W').
        """
        if isinstance(self.guidance, WeightedPoolGuidance) and self.map_source == "given":
            _, maps, valid = segments
            return token_weights(maps, valid, outputs[keys.VIDEO_TOKENS].shape[2:]).weights
        gate = outputs.get(keys.VIDEO_GATE)
        return gate if gate is not None and gate.dim() == 5 else None  # or it is one of channels

    def _guide(
        self,
        tokens: Tensor,
        attn_map: Tensor,
        attn_valid: Tensor,
        map_given: Tensor | None,
        outputs: dict[str, Tensor],
    ) -> Tensor:
        """Returns the tokens pooled under the map that ``map_source`` names; adds its gate."""
        assert self.guidance is not None
        if self.map_source != "given":
            if map_given is None:
                map_given = torch.full_like(attn_valid, self.map_source == "mixed")
            attn_map = guiding_map(outputs[keys.PREDICTED_MAP], attn_map, attn_valid & map_given)
            attn_valid = torch.ones_like(attn_valid)
        pooled, gate = self.guidance(tokens, attn_map, attn_valid)
        if gate is not None:
            outputs[keys.VIDEO_GATE] = gate
        return pooled

    def _video_feature(self, mean: Tensor, guided: Tensor | None) -> Tensor:
        """Returns (B, F) of the plain mean and the guided one, (B, D) each."""
        if self.guided_feature is None or guided is None:
            return self.video_feature(mean if guided is None else guided)
        # The difference, for what a patient's tokens have in common everywhere is not in it; and
        # where the map says nothing it is 0, as without guidance.
        linear, activation = self.video_feature
        return activation(linear(mean) + self.guided_feature(guided - mean))

    def _diagnosis_feature(self, outputs: dict[str, Tensor], attn_valid: Tensor) -> Tensor:
        if self.classifier_source == "video":
            return outputs[keys.VIDEO_FEAT]
        if self.classifier_source == "attn":
            return outputs[keys.ATTN_FEAT]
        share = 0.5 * attn_valid[:, None].to(outputs[keys.VIDEO_FEAT].dtype)
        return outputs[keys.VIDEO_FEAT] * (1 - share) + outputs[keys.ATTN_FEAT] * share


def _check_encoder(
    encoder: VideoEncoder, name: str, *, map_source: str, map_guided_global: bool
) -> None:
    """Raises a VaclipError where an encoder lacks what the contract or the settings ask for."""
    for attribute in ("out_channels", "gives_tokens"):
        if not hasattr(encoder, attribute):
            raise VaclipError(
                f"model.clip_backbone '{name}' does not set {attribute}, which "
                "vaclip.models.encoders.VideoEncoder asks for"
            )
    if encoder.gives_tokens:
        return
    for key, value, usual in (
        ("map_source", map_source, "given"),
        ("map_guided_global", str(map_guided_global).lower(), "false"),
    ):
        if value != usual:
            raise VaclipError(
                f"model.{key}={value} needs tokens, which model.clip_backbone={name} does not "
                f"give; use 3dcnn or model.{key}={usual}"
            )


def part_packages(clip_backbone: str, map_guided_type: str) -> list[str]:
    """Returns ``name version`` of the packages that a model's parts come from, but for vaclip."""
    packages = {ENCODERS.package(clip_backbone), GUIDANCE.package(map_guided_type)}
    return sorted(package for package in packages if package)
