"""Video encoders by their ``model.clip_backbone`` name."""

from vaclip.models.encoders.base import Encoded, VideoEncoder
from vaclip.models.encoders.cnn2d import CNN2D
from vaclip.models.encoders.cnn3d import CNN3D
from vaclip.models.encoders.cnn_lstm import CNNLSTM

ENCODERS: dict[str, type[VideoEncoder]] = {
    "3dcnn": CNN3D,
    "2dcnn": CNN2D,
    "cnn_lstm": CNNLSTM,
}

__all__ = ["ENCODERS", "Encoded", "VideoEncoder"]
