"""Video encoders by their ``model.clip_backbone`` name."""

from vaclip.models.encoders.base import Encoded, VideoEncoder
from vaclip.plugins import Registry

ENCODERS = Registry(
    "vaclip.encoders",
    "model.clip_backbone",
    VideoEncoder,
    {
        "3dcnn": "vaclip.models.encoders.cnn3d:CNN3D",
        "2dcnn": "vaclip.models.encoders.cnn2d:CNN2D",
        "cnn_lstm": "vaclip.models.encoders.cnn_lstm:CNNLSTM",
        "features": "vaclip.models.encoders.features:FrozenFeatures",
    },
    by_path=True,
)
"""Each is built from ``width``."""

__all__ = ["ENCODERS", "Encoded", "VideoEncoder"]
