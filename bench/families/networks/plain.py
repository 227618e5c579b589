"""Networks without shortcuts, which `spec: chain` aligns as a whole. Their names alone do not prove that they are such."""

import torch
from torch import nn

from harness import network

PICTURE = lambda: torch.randn(2, 3, 16, 16)
VECTOR = lambda: torch.randn(4, 12)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(12, 24), nn.Linear(24, 20), nn.Linear(20, 5)

    def forward(self, x):
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.fc1, self.fc2 = nn.Linear(16 * 16, 20), nn.Linear(20, 5)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = nn.functional.max_pool2d(torch.relu(self.bn2(self.conv2(x))), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def sequential():
    return nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 5))


def normed():
    return nn.Sequential(nn.Linear(12, 24), nn.LayerNorm(24), nn.ReLU(), nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 5))


def small_vgg():
    class Vgg(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
            )
            self.classifier = nn.Sequential(nn.Linear(16 * 16, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5))

        def forward(self, x):
            return self.classifier(self.features(x).flatten(1))

    return Vgg()


for name, make, inputs in [
    ("mlp", Mlp, VECTOR),
    ("mlp-sequential", sequential, VECTOR),
    ("mlp-layernorm", normed, VECTOR),
    ("cnn", Cnn, PICTURE),
    ("small-vgg", small_vgg, PICTURE),
]:
    for spec in ("auto", "chain"):
        network("plain", f"{name}-{spec}", spec=spec, least=0.97 if spec == "chain" else None)(
            lambda make=make, inputs=inputs: (make(), inputs)
        )
