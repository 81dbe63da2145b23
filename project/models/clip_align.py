"""``project.models.clip_align.VideoAttentionCLIP`` is ``vaclip.models.VideoAttentionCLIP``."""

from vaclip.models import VideoAttentionCLIP

__all__ = ["VideoAttentionCLIP"]
