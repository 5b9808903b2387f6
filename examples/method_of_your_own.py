"""A method of your own, trained and used like the others: every step inside an action says its class, and how far the
start and the end are. Takes the demo's world (`untrimmed demo --out demo`) unless another folder is named.

    python examples/method_of_your_own.py [FOLDER with annotations.json and features/] [OUT] [EPOCHS]
"""

import sys
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import nn
from torch.nn import functional as F

import untrimmed
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import sigmoid_term
from untrimmed.methods.catalog import register
from untrimmed.methods.protocol import StepDetections


class Settings(BaseModel):
    channels: int = 64


class Inside(nn.Module):
    Config = Settings

    def __init__(self, config, channels, classes):
        super().__init__()
        self.classes, width = classes, config.channels
        self.first = nn.Conv1d(channels, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.out = nn.Conv1d(width, classes + 2, 1)

    def forward(self, batch):
        hidden = F.relu(self.second(F.relu(self.first(batch.features)) * batch.mask[:, None]))
        out = self.out(hidden)
        return {"classes": out[:, : self.classes], "ends": F.softplus(out[:, self.classes :]) * 8}

    def loss(self, raw, batch):
        steps = torch.arange(batch.mask.shape[1], device=batch.mask.device) + 0.5
        classes, ends = torch.zeros_like(raw["classes"]), torch.zeros_like(raw["ends"])
        for row, targets in enumerate(batch.targets):
            for (start, end), label in zip(targets.segments, targets.labels, strict=True):
                inside = (steps >= start) & (steps < end)
                classes[row, label, inside] = 1
                ends[row][:, inside] = torch.stack((steps - start, end - steps))[:, inside]
        inside = classes.amax(1, keepdim=True)
        away = F.smooth_l1_loss(raw["ends"], ends, reduction="none") * inside
        return {
            "classes": sigmoid_term(raw["classes"], classes, batch.mask[:, None], weight=20),
            "ends": LossTerm(away.sum(), inside.sum(), weight=0.1),
        }

    def decode(self, raw, batch):
        scores = raw["classes"].sigmoid() * batch.mask[:, None]
        steps = torch.arange(scores.shape[2], device=scores.device) + 0.5
        found = []
        for each, (before, after) in zip(scores, raw["ends"], strict=True):
            labels, places = (each > 0.05).nonzero().unbind(1)
            order = each[labels, places].argsort(descending=True, stable=True)
            labels, places = labels[order], places[order]
            segments = torch.stack((steps - before, steps + after), 1)[places]
            found.append(StepDetections(segments, each[labels, places], labels, steps[places]))
        return found


register("inside", Inside, family="dense")

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "inside")
    recipe = {
        "data": {"validation": None},
        "windows": {"kind": "sliding", "length": 128, "stride": 64},
        "method": {"name": "inside"},
        "train": {"epochs": int(sys.argv[3]) if len(sys.argv) > 3 else 10, "batch_size": 8, "optim": {"lr": 2e-3}},
        "postprocess": {"nms": [{"method": "gaussian", "sigma": 0.5}]},
    }
    result = untrimmed.train(recipe, annotations=folder / "annotations.json", features=folder / "features", out=out)
    print(result.evaluation)
    print(untrimmed.load_model(out).detect(folder / "features"))
