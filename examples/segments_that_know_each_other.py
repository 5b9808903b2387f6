"""One module in code of your own: GCM lets the proposals of a video know each other before a classifier judges them."""

import torch
from torch import nn

from untrimmed.methods.plugins.gcm import GCM


class Judge(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.context = GCM(channels=channels)
        self.classify = nn.Linear(channels, classes)

    def forward(
        self, features: torch.Tensor, segments: torch.Tensor, wanted: torch.Tensor | None = None
    ) -> torch.Tensor:
        return self.classify(self.context(features, segments, wanted=wanted))


features = torch.randn(2, 300, 64)  # (B, N, C), of 300 proposals
start = 100 * torch.rand(2, 300, 1)
segments = torch.cat((start, start + 1 + 5 * torch.rand(2, 300, 1)), -1)  # (B, N, 2), seconds or steps
judge = Judge(64, classes=5)
few = torch.randint(300, (2, 8))  # a training step looks at some and computes what these need
judge(features, segments, few).sum().backward()
scores = judge.eval()(features, segments)
graph = judge.context.edges(features, segments).edges()
print(tuple(scores.shape), f"{len(graph.neighbours)} edges, at most {int(graph.degrees.max())} of a proposal")
