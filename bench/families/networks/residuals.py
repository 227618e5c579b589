"""Shortcuts that stand in forward and leave no tensor."""

import torch
from torch import nn
from torch.nn import functional as F

from harness import network

PICTURE = lambda: torch.randn(2, 3, 16, 16)
VECTOR = lambda: torch.randn(4, 12)
SIGNAL = lambda: torch.randn(2, 4, 24)


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Fn(nn.Module):
    """Modules by name, and a forward function."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs):
        return self.run(self, *inputs)


def conv(a, b, k=3, **more):
    return nn.Conv2d(a, b, k, padding=more.pop("padding", k // 2), **more)


@network("residual in forward")
def mlp_flat_residual():
    run = lambda m, x: m.fc4((h := torch.relu(m.fc1(x))) + torch.relu(m.fc3(torch.relu(m.fc2(h)))))
    return Fn(run, fc1=nn.Linear(12, 24), fc2=nn.Linear(24, 20), fc3=nn.Linear(20, 24), fc4=nn.Linear(24, 5)), VECTOR


@network("residual in forward")
def mlp_square_residual():
    def run(m, x):
        x = torch.relu(m.fc1(x))
        x = x + torch.relu(m.fc2(x))
        x = x + torch.relu(m.fc3(x))
        return m.out(x)

    return Fn(run, fc1=nn.Linear(12, 24), fc2=nn.Linear(24, 24), fc3=nn.Linear(24, 24), out=nn.Linear(24, 5)), VECTOR


@network("residual in forward")
def mlp_list_residual():
    def run(m, x):
        x = m.inp(x)
        for layer in m.layers:
            x = x + torch.tanh(layer(x))
        return m.out(x)

    return Fn(run, inp=nn.Linear(12, 24), layers=nn.ModuleList(nn.Linear(24, 24) for _ in range(3)), out=nn.Linear(24, 5)), VECTOR


@network("residual in forward")
def cnn_flat_residual():
    def run(m, x):
        x = torch.relu(m.conv1(x))
        x = torch.relu(x + m.conv3(torch.relu(m.conv2(x))))
        return m.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))

    return Fn(run, conv1=conv(3, 16), conv2=conv(16, 12), conv3=conv(12, 16), fc=nn.Linear(16, 5)), PICTURE


@network("residual in forward")
def cnn_bn_flat_residual():
    def run(m, x):
        x = torch.relu(m.bn1(m.conv1(x)))
        y = m.bn3(m.conv3(torch.relu(m.bn2(m.conv2(x)))))
        return m.fc(torch.relu(x + y).mean((2, 3)))

    return (
        Fn(run, conv1=conv(3, 16), bn1=nn.BatchNorm2d(16), conv2=conv(16, 16), bn2=nn.BatchNorm2d(16), conv3=conv(16, 16), bn3=nn.BatchNorm2d(16), fc=nn.Linear(16, 5)),
        PICTURE,
    )


@network("residual in forward")
def wrapped_residual_conv():
    return nn.Sequential(conv(3, 16), nn.ReLU(), Residual(conv(16, 16)), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 256, 5)), PICTURE


@network("residual in forward")
def wrapped_pointwise():
    return nn.Sequential(conv(3, 16), nn.ReLU(), Residual(nn.Conv2d(16, 16, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)), PICTURE


@network("residual in forward")
def wrapped_linear():
    return nn.Sequential(nn.Linear(12, 24), Residual(nn.Sequential(nn.Linear(24, 24), nn.ReLU())), nn.Linear(24, 5)), VECTOR


@network("residual in forward")
def wrapped_bottleneck_in_features():
    def block():
        return Residual(nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), conv(8, 16)))

    run = lambda m, x: m.classifier(m.features(x).mean((2, 3)))
    return Fn(run, features=nn.Sequential(conv(3, 16), block(), block()), classifier=nn.Linear(16, 5)), PICTURE


@network("residual in forward")
def residual_named_layers():
    """Blocks in a list that is called layers, whose parts are called conv and norm."""

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = conv(16, 16), nn.BatchNorm2d(16)

        def forward(self, x):
            return x + torch.relu(self.norm(self.conv(x)))

    def run(m, x):
        x = m.stem(x)
        for part in m.layers:
            x = part(x)
        return m.head(x.mean((2, 3)))

    return Fn(run, stem=conv(3, 16), layers=nn.ModuleList(Part() for _ in range(3)), head=nn.Linear(16, 5)), PICTURE


@network("residual in forward")
def unet_additive():
    def run(m, x):
        one = torch.relu(m.enc1(x))
        two = torch.relu(m.enc2(F.max_pool2d(one, 2)))
        three = torch.relu(m.enc3(F.max_pool2d(two, 2)))
        x = torch.relu(m.dec3(F.interpolate(three, scale_factor=2.0))) + two
        x = torch.relu(m.dec2(F.interpolate(x, scale_factor=2.0))) + one
        return m.out(x)

    return Fn(run, enc1=conv(3, 12), enc2=conv(12, 16), enc3=conv(16, 20), dec3=conv(20, 16), dec2=conv(16, 12), out=conv(12, 2)), PICTURE


@network("residual in forward")
def unet_concatenating():
    def run(m, x):
        one = torch.relu(m.enc1(x))
        two = torch.relu(m.enc2(F.max_pool2d(one, 2)))
        x = torch.cat([F.interpolate(two, scale_factor=2.0), one], 1)
        return m.out(torch.relu(m.dec(x)))

    return Fn(run, enc1=conv(3, 12), enc2=conv(12, 12), dec=conv(24, 12), out=conv(12, 2)), PICTURE


@network("residual in forward")
def unet_transposed_additive():
    def run(m, x):
        one = torch.relu(m.down1(x))
        two = torch.relu(m.down2(one))
        return m.out(torch.relu(m.up(two)) + one)

    return Fn(run, down1=conv(3, 16), down2=nn.Conv2d(16, 16, 2, stride=2), up=nn.ConvTranspose2d(16, 16, 2, stride=2), out=conv(16, 2)), PICTURE


@network("residual in forward")
def wavenet():
    def run(m, x):
        x = m.start(x)
        skips = 0
        for i, (filt, gate, res, skip) in enumerate(zip(m.filter_convs, m.gate_convs, m.residual_convs, m.skip_convs)):
            pad = F.pad(x, (2**i, 0))
            h = torch.tanh(filt(pad)) * torch.sigmoid(gate(pad))
            skips = skips + skip(h)
            x = x + res(h)
        return m.end2(torch.relu(m.end1(torch.relu(skips))))

    many = lambda make: nn.ModuleList(make(i) for i in range(3))
    return (
        Fn(
            run,
            start=nn.Conv1d(4, 16, 1),
            filter_convs=many(lambda i: nn.Conv1d(16, 16, 2, dilation=2**i)),
            gate_convs=many(lambda i: nn.Conv1d(16, 16, 2, dilation=2**i)),
            residual_convs=many(lambda i: nn.Conv1d(16, 16, 1)),
            skip_convs=many(lambda i: nn.Conv1d(16, 16, 1)),
            end1=nn.Conv1d(16, 16, 1),
            end2=nn.Conv1d(16, 5, 1),
        ),
        SIGNAL,
    )


@network("residual in forward")
def tcn():
    class Level(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv1d(a, b, 3, padding=1), nn.Conv1d(b, b, 3, padding=1)
            self.downsample = nn.Conv1d(a, b, 1) if a != b else None

        def forward(self, x):
            y = torch.relu(self.conv2(torch.relu(self.conv1(x))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    run = lambda m, x: m.linear(m.network(x)[:, :, -1])
    return Fn(run, network=nn.Sequential(Level(4, 16), Level(16, 16), Level(16, 16)), linear=nn.Linear(16, 5)), SIGNAL


@network("residual in forward")
def nbeats():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2, self.fc3, self.fc4 = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
            self.theta_b, self.theta_f = nn.Linear(16, 12), nn.Linear(16, 4)

        def forward(self, x):
            h = x
            for layer in (self.fc1, self.fc2, self.fc3, self.fc4):
                h = torch.relu(layer(h))
            return self.theta_b(h), self.theta_f(h)

    def run(m, x):
        total = 0
        for block in m.blocks:
            back, ahead = block(x)
            x, total = x - back, total + ahead
        return total

    return Fn(run, blocks=nn.ModuleList(Block() for _ in range(3))), VECTOR


@network("residual in forward")
def nbeats_flat():
    def run(m, x):
        total = 0
        for layers in m.stack:
            h = torch.relu(layers[0](x))
            h = torch.relu(layers[1](h))
            out = layers[2](h)
            x, total = x - out, total + out
        return total

    return Fn(run, stack=nn.ModuleList(nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)]) for _ in range(2))), lambda: torch.randn(4, 16)


@network("global skip")
def edsr():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(conv(16, 16), nn.ReLU(), conv(16, 16))

        def forward(self, x):
            return x + 0.5 * self.body(x)

    def run(m, x):
        x = m.head(x)
        return m.tail(x + m.body(x))

    body = nn.Sequential(Block(), Block(), conv(16, 16))
    tail = nn.Sequential(nn.Sequential(conv(16, 64), nn.PixelShuffle(2)), conv(16, 3))
    return Fn(run, head=nn.Sequential(conv(3, 16)), body=body, tail=tail), PICTURE


@network("global skip")
def srgan_generator():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1, self.prelu, self.conv2, self.bn2 = conv(16, 16), nn.BatchNorm2d(16), nn.PReLU(), conv(16, 16), nn.BatchNorm2d(16)

        def forward(self, x):
            return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))

    def run(m, x):
        one = m.block1(x)
        x = m.block7(m.block3(m.block2(one)))
        return m.block8(one + x)

    return (
        Fn(
            run,
            block1=nn.Sequential(conv(3, 16, 9), nn.PReLU()),
            block2=Block(),
            block3=Block(),
            block7=nn.Sequential(conv(16, 16), nn.BatchNorm2d(16)),
            block8=nn.Sequential(conv(16, 64), nn.PixelShuffle(2), nn.PReLU(), conv(16, 3, 9)),
        ),
        PICTURE,
    )


@network("global skip")
def dncnn_hidden_skip():
    def run(m, x):
        x = torch.relu(m.first(x))
        return m.last(x + m.middle(x))

    middle = nn.Sequential(conv(16, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 16), nn.BatchNorm2d(16))
    return Fn(run, first=conv(3, 16), middle=middle, last=conv(16, 3)), PICTURE


@network("global skip")
def rdn_sum():
    """All intermediate outputs added up before the head."""

    def run(m, x):
        x = m.conv_in(x)
        total = x
        for layer in m.convs:
            x = torch.relu(layer(x))
            total = total + x
        return m.conv_out(total)

    return Fn(run, conv_in=conv(3, 16), convs=nn.ModuleList(conv(16, 16) for _ in range(3)), conv_out=conv(16, 3)), PICTURE


@network("global skip")
def nerf_skip_concat():
    def run(m, x):
        h = x
        for i, layer in enumerate(m.pts_linears):
            h = torch.relu(layer(h))
            if i == 1:
                h = torch.cat([x, h], -1)
        return m.output_linear(h)

    return Fn(run, pts_linears=nn.ModuleList([nn.Linear(12, 24), nn.Linear(24, 24), nn.Linear(36, 24), nn.Linear(24, 24)]), output_linear=nn.Linear(24, 4)), VECTOR


@network("global skip")
def deepsdf_same_size():
    """A concatenation after a layer that gave fewer, so that sizes look like a chain."""

    def run(m, x):
        h = torch.relu(m.lin0(x))
        h = torch.cat([torch.relu(m.lin1(h)), x], -1)
        h = torch.relu(m.lin2(h))
        return m.lin3(h)

    return Fn(run, lin0=nn.Linear(12, 24), lin1=nn.Linear(24, 12), lin2=nn.Linear(24, 24), lin3=nn.Linear(24, 1)), VECTOR


@network("global skip")
def highway():
    def run(m, x):
        x = torch.relu(m.inp(x))
        for plain, gate in zip(m.plain, m.gates):
            g = torch.sigmoid(gate(x))
            x = g * torch.relu(plain(x)) + (1 - g) * x
        return m.out(x)

    many = lambda: nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
    return Fn(run, inp=nn.Linear(12, 16), plain=many(), gates=many(), out=nn.Linear(16, 5)), VECTOR


@network("global skip")
def dense_skip_add():
    def run(m, x):
        a = torch.relu(m.fc1(x))
        b = torch.relu(m.fc2(a))
        c = torch.relu(m.fc3(a + b))
        return m.fc4(a + b + c)

    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), fc3=nn.Linear(16, 16), fc4=nn.Linear(16, 5)), VECTOR


@network("global skip")
def resnet_identity_in_forward():
    """torchvision's names, a skip over two stages that leaves no tensor."""

    class Block(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.conv1, self.bn1, self.conv2, self.bn2 = conv(a, b), nn.BatchNorm2d(b), conv(b, b), nn.BatchNorm2d(b)
            self.downsample = nn.Sequential(nn.Conv2d(a, b, 1), nn.BatchNorm2d(b)) if a != b else None

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    def run(m, x):
        x = torch.relu(m.bn1(m.conv1(x)))
        y = m.layer1(x)
        z = m.layer3(m.layer2(y))
        return m.fc((y + z).mean((2, 3)))

    return (
        Fn(run, conv1=conv(3, 16), bn1=nn.BatchNorm2d(16), layer1=nn.Sequential(Block(16, 16), Block(16, 16)), layer2=nn.Sequential(Block(16, 20)), layer3=nn.Sequential(Block(20, 16)), fc=nn.Linear(16, 5)),
        PICTURE,
    )
