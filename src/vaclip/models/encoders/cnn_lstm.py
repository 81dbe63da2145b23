"""``cnn_lstm``: a small CNN on each frame, then an LSTM over time."""

from __future__ import annotations

from torch import Tensor, nn

from vaclip.models.encoders.base import Encoded, VideoEncoder
from vaclip.models.encoders.cnn2d import FrameCNN


class CNNLSTM(VideoEncoder):
    """The last hidden state of an LSTM over the frames' features.

    Args:
        width: Channels of the frame CNN's stem; the LSTM has four times as many units.
    """

    gives_tokens = False

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.frame_cnn = FrameCNN(width)
        self.out_channels = self.frame_cnn.out_channels
        self.lstm = nn.LSTM(self.out_channels, self.out_channels, batch_first=True)

    def forward(self, video: Tensor) -> Encoded:
        _, (hidden, _) = self.lstm(self.frame_cnn(video))
        return Encoded(hidden[-1], None)
