"""Networks whose spec is an ONNX export, by both exporters of PyTorch."""

import torch
from harness import network
from torch import nn
from torch.nn import functional as F


def exported(kind, make, name, least=0.95, exporters=("torchscript", "dynamo"), **more):
    for exporter in exporters:
        network(kind, f"{name}-{exporter}", exporter=exporter, least=least, **more)(make)


def picture(channels=3, size=16):
    return torch.randn(2, channels, size, size)


class Block(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        same = before == after and stride == 1
        self.downsample = None if same else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8), Block(8, 8))
        self.layer2 = nn.Sequential(Block(8, 12, 2), Block(12, 12))
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


class Dense(nn.Module):
    """Layers that read the channels of all layers before them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * k) for k in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(6 + 4 * k, 4, 3, padding=1) for k in range(3))
        self.fc = nn.Linear(18, 5)

    def forward(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return self.fc(x.mean((2, 3)))


class Shuffled(nn.Module):
    """Channels in two halves, one of them through a layer, then in turns."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.branch = nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 4, 1))
        self.head = nn.Conv2d(8, 6, 1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        a, b = self.stem(x).chunk(2, 1)
        y = torch.cat([a, self.branch(b)], 1)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.fc(F.relu(self.head(y)).mean((2, 3)))


class Gated(nn.Module):
    """Gate and value in one matrix."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.norm = nn.LayerNorm(8)
        self.up = nn.Linear(8, 24)
        self.down = nn.Linear(12, 8)
        self.head = nn.Linear(8, 11, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        gate, value = self.up(self.norm(x)).chunk(2, -1)
        return self.head(x + self.down(F.silu(gate) * value))


class Recurrent(nn.Module):
    def __init__(self, kind, **more):
        super().__init__()
        self.inp = nn.Linear(5, 7)
        self.rnn = kind(7, 6, batch_first=True, **more)
        self.out = nn.Linear(12 if more.get("bidirectional") else 6, 3)

    def forward(self, x):
        return self.out(self.rnn(torch.tanh(self.inp(x)))[0])


class Normed(nn.Module):
    """GroupNorm: channels move within their group."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.gn = nn.GroupNorm(3, 12)
        self.conv2 = nn.Conv2d(12, 8, 3, padding=1)
        self.inorm = nn.InstanceNorm2d(8, affine=True)
        self.act = nn.PReLU(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.gn(self.conv1(x)))
        return self.fc(self.act(self.inorm(self.conv2(x))).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(3, 6, 3, padding=1)
        self.down2 = nn.Conv2d(6, 10, 3, 2, 1)
        self.up = nn.ConvTranspose2d(10, 6, 2, 2)
        self.merge = nn.Conv2d(12, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = F.relu(self.down1(x))
        b = F.relu(self.up(F.relu(self.down2(a))))
        return self.head(F.relu(self.merge(torch.cat([a, b], 1))))


class Flattened(nn.Module):
    """A picture that is flattened, beside another input."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.side = nn.Linear(4, 5)
        self.fc1 = nn.Linear(6 * 16 + 5, 9)
        self.fc2 = nn.Linear(9, 3)

    def forward(self, x, y):
        a = F.max_pool2d(F.relu(self.conv(x)), 4)
        return self.fc2(F.relu(self.fc1(torch.cat([a.flatten(1), F.relu(self.side(y))], 1))))


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 12, 1)
        self.b = nn.Conv2d(12, 18, 3, padding=1, groups=3)
        self.c = nn.Conv2d(18, 8, 1)
        self.up = nn.PixelShuffle(2)
        self.d = nn.Conv2d(2, 4, 1)

    def forward(self, x):
        return self.d(F.relu(self.up(F.relu(self.c(F.relu(self.b(F.relu(self.a(x)))))))))


exported("exported convolutions", lambda: (Residual(), picture()), "residual", stays=[r"^fc\.bias"])
exported("exported convolutions", lambda: (Dense(), picture()), "dense")
exported("exported convolutions", lambda: (Shuffled(), picture()), "shuffled", least=None)
exported("exported transformers", lambda: (Gated(), torch.randint(0, 11, (2, 5))), "gated")
exported("exported recurrent", lambda: (Recurrent(nn.LSTM, num_layers=2), torch.randn(2, 4, 5)), "lstm")
exported("exported recurrent", lambda: (Recurrent(nn.GRU, bidirectional=True), torch.randn(2, 4, 5)), "gru-bidirectional")
exported("exported convolutions", lambda: (Normed(), picture()), "normed")
exported("exported convolutions", lambda: (UNet(), picture()), "unet")
exported("exported convolutions", lambda: (Flattened(), (picture(), torch.randn(2, 4))), "flattened")
exported("exported convolutions", lambda: (Grouped(), picture()), "grouped", least=None)
exported(
    "exported transformers",
    lambda: (nn.TransformerEncoderLayer(12, 3, 20, batch_first=True, dropout=0.0), torch.randn(2, 4, 12)),
    "encoder-layer",
    least=None,
    # The older exporter of PyTorch 2.13 fails on this layer.
    exporters=("dynamo",),
)
