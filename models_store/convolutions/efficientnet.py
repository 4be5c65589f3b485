"""EfficientNet-lite0 (Tan and Le, 2019), whose "lite" variant has ReLU6 and no squeeze-and-excitation.

Batch normalisation is folded into the convolutions, so nothing in a frozen model depends on batch
statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

Stage = tuple[int, int, int, int, int]

# (expansion, kernel, stride, channels, repeats) of each EfficientNet-lite0 stage up to stride 16.
STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3))
# What follows them: strides 32 and 32.
LAST_STAGES = ((6, 5, 2, 192, 4), (6, 3, 1, 320, 1))
FIRST_CHANNELS = 32
# The stages after which a finer map leaves the trunk: strides 2, 4 and 8.
FINE_STAGES = (0, 1, 2)
FINE_CHANNELS = tuple(STAGES[i][3] for i in FINE_STAGES)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, which is lopsided at stride 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        symmetric = 0 if stride == 2 else kernel // 2
        super().__init__(inputs, outputs, kernel, stride, symmetric, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            total = self.kernel_size[0] - 2
            before, after = total // 2, total - total // 2
            x = F.pad(x, (before, after, before, after))
        return super().forward(x)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, filter per channel, project; residual where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


def lite_stages(stages: Sequence[Stage]) -> nn.ModuleList:
    """The blocks of some stages, from the first on."""
    modules = nn.ModuleList()
    channels = FIRST_CHANNELS
    for expansion, kernel, stride, outputs, repeats in stages:
        blocks = []
        for i in range(repeats):
            blocks.append(InvertedResidual(channels, outputs, kernel, stride if i == 0 else 1, expansion))
            channels = outputs
        modules.append(nn.Sequential(*blocks))
    return modules
