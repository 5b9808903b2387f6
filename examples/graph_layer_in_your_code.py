"""One part in code of your own: VSGN's graph of nearest time steps and its edge convolution, in a plain network."""

import torch
from torch import nn

from untrimmed.layers.graph import EdgeConv, knn_graph


class Net(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temporal = nn.Conv1d(channels, channels, 3, padding=1)
        self.graph = EdgeConv(channels, channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        indices, valid = knn_graph(features, k=8)
        return torch.relu(self.temporal(features) + self.graph(features, indices, valid))


features = torch.randn(2, 32, 200)  # (B, C, T)
net = Net(32)
out = net(features)
out.sum().backward()
print(tuple(out.shape), sum(parameter.numel() for parameter in net.parameters()), "parameters")
