"""``vaclip train`` whose batch normalisation uses its running statistics, as a program.

A process knows the statistics of its own share of a batch alone; without them, processes together
do exactly what one does.
"""

from __future__ import annotations

import sys

import torch.nn.functional as F
from torch import Tensor, nn


def _with_running_statistics(self: nn.Module, rows: Tensor) -> Tensor:
    return F.batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias)


if __name__ == "__main__":
    nn.BatchNorm2d.forward = nn.BatchNorm3d.forward = _with_running_statistics
    sys.argv[:1] = ["vaclip train"]
    from vaclip.commands.train import main

    main()
