"""torchvision's networks, whole and as parts of others. Real widths, because names and shapes identify them."""

import torch
from torch import nn

from harness import network
from vision import torchvision

models = torchvision.models


def picture(size=64, channels=3):
    return lambda: torch.randn(1, channels, size, size)


def plain(name, size=64):
    return lambda: (models.get_model(name, weights=None, num_classes=7), picture(size))


for name, least in {
    "resnet18": 0.95,
    "resnet50": 0.95,
    "resnext50_32x4d": None,
    "mobilenet_v2": 0.95,
    "mobilenet_v3_small": 0.95,
    "mnasnet0_5": 0.95,
    "efficientnet_b0": 0.95,
    "efficientnet_v2_s": 0.95,
    "squeezenet1_1": 0.95,
    "shufflenet_v2_x0_5": 0.9,
    "regnet_y_400mf": 0.95,
    "densenet121": 0.95,
    "googlenet": 0.95,
}.items():
    network("torchvision", name, least=least)(plain(name))


@network("torchvision", least=0.95)
def resnet18_small_pictures():
    model = models.resnet18(num_classes=7)
    model.conv1, model.maxpool = nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.Identity()
    return model, picture(16, 1)


@network("torchvision", least=0.5)
def resnet18_other_head():
    model = models.resnet18()
    model.fc = nn.Sequential(nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 5))
    return model, picture(32)


class Taps(nn.Module):
    """A backbone whose stages are read by layers of its own."""

    def __init__(self):
        super().__init__()
        self.backbone = models.resnet18()
        self.backbone.fc = nn.Identity()
        self.taps = nn.ModuleList(nn.Conv2d(n, 4, 1) for n in (64, 128, 256, 512))

    def forward(self, x):
        b = self.backbone
        x = b.maxpool(b.relu(b.bn1(b.conv1(x))))
        found = []
        for stage, tap in zip((b.layer1, b.layer2, b.layer3, b.layer4), self.taps):
            x = stage(x)
            found.append(tap(x).mean((2, 3)))
        return torch.cat(found, 1)


@network("torchvision", least=0.5)
def resnet18_taps():
    return Taps(), picture(32)


@network("torchvision", least=None)
def deeplab():
    return models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4), picture(48)
