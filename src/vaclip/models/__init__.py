"""The model: encoders, guidance, heads, and VideoAttentionCLIP that joins them."""

from vaclip.models.clip import VideoAttentionCLIP

__all__ = ["VideoAttentionCLIP"]
