"""Operators without tensors that see the order of units, or several units at once."""

import torch
from torch import nn
from torch.nn import functional as F

from harness import network
from networks.residuals import Fn, conv

PICTURE = lambda: torch.randn(2, 3, 8, 8)
VECTOR = lambda: torch.randn(4, 12)
OPERATORS = {
    "sort": lambda h: h.sort(1).values,
    "groupsort": lambda h: h.view(len(h), -1, 2).sort(2).values.flatten(1),
    "cumsum": lambda h: h.cumsum(1),
    "maxout": lambda h: h.view(len(h), -1, 2).amax(2).repeat_interleave(2, 1),
    "groupnorm": lambda h: F.group_norm(h, 4),
    "position-scale": lambda h: h * torch.linspace(0.5, 2, h.shape[1], dtype=h.dtype),
    "top-half": lambda h: h * (torch.arange(h.shape[1]) < h.shape[1] // 2),
    "roll": lambda h: h.roll(1, 1),
    "flip": lambda h: h + h.flip(1),
    "glu-repeat": lambda h: torch.cat([F.glu(h, 1)] * 2, 1),
    "softmax-blocks": lambda h: torch.softmax(h.view(len(h), 4, -1), 2).flatten(1),
    "fourier": lambda h: torch.fft.rfft(h, dim=1).abs()[:, : h.shape[1] // 2].repeat_interleave(2, 1),
    "argmax-index": lambda h: h + h.argmax(1, keepdim=True),
    "max-pool-units": lambda h: F.max_pool1d(h.unsqueeze(1), 3, 1, 1).squeeze(1),
    "chunk-swap": lambda h: torch.cat(h.chunk(2, 1)[::-1], 1),
    "rotary": lambda h: h * 0.6 + 0.8 * torch.cat([-h[:, h.shape[1] // 2 :], h[:, : h.shape[1] // 2]], 1),
    "threshold-by-index": lambda h: torch.relu(h - 0.01 * torch.arange(h.shape[1])),
}
# They see several units, and not their order.
SAFE = {
    "softmax": lambda h: torch.softmax(h, 1),
    "layernorm-plain": lambda h: F.layer_norm(h, h.shape[1:]),
    "l2-normalise": lambda h: F.normalize(h, dim=1),
    "top-k": lambda h: h * (h >= h.topk(5, 1).values[:, -1:]),
    "mean-centred": lambda h: h - h.mean(1, keepdim=True),
}


def mlp(operator):
    run = lambda m, x: m.fc3(torch.relu(m.fc2(operator(m.fc1(x)))))
    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), fc3=nn.Linear(16, 5))


for name, operator in OPERATORS.items():
    network("operator", f"mlp-{name}")(lambda operator=operator: (mlp(operator), VECTOR))
for name, operator in SAFE.items():
    network("harmless operator", f"mlp-{name}")(lambda operator=operator: (mlp(operator), VECTOR))
    network("harmless operator", f"mlp-{name}-chain", spec="chain", least=0.95)(lambda operator=operator: (mlp(operator), VECTOR))


@network("operator")
def local_response_norm():
    run = lambda m, x: m.fc(torch.relu(m.conv2(F.local_response_norm(torch.relu(m.conv1(x)), 3, alpha=1.0))).mean((2, 3)))
    return Fn(run, conv1=conv(3, 16), conv2=conv(16, 16), fc=nn.Linear(16, 5)), PICTURE


@network("operator")
def local_response_norm_features():
    features = nn.Sequential(conv(3, 16), nn.ReLU(), nn.LocalResponseNorm(3, alpha=1.0), conv(16, 16), nn.ReLU())
    return Fn(lambda m, x: m.classifier(m.features(x).mean((2, 3))), features=features, classifier=nn.Linear(16, 5)), PICTURE


@network("operator")
def groupnorm_before_linear():
    run = lambda m, x: m.fc2(torch.relu(m.fc1(F.group_norm(torch.relu(m.conv(x)), 4).mean((2, 3)).mul(2))))
    return Fn(run, conv=conv(3, 16), fc1=nn.Linear(16, 16), fc2=nn.Linear(16, 5)), PICTURE


@network("operator")
def groupnorm_affine_mlp():
    run = lambda m, x: m.fc2(torch.relu(m.norm(m.fc1(x))))
    return Fn(run, fc1=nn.Linear(12, 16), norm=nn.GroupNorm(4, 16), fc2=nn.Linear(16, 5)), VECTOR


@network("operator")
def pixel_shuffle():
    run = lambda m, x: m.conv3(torch.relu(F.pixel_shuffle(m.conv2(torch.relu(m.conv1(x))), 2)))
    return Fn(run, conv1=conv(3, 16), conv2=conv(16, 64), conv3=conv(16, 3)), PICTURE


@network("operator")
def pixel_shuffle_grouped_look():
    """16 channels become 4, and the next layer takes 4: as if it were grouped."""

    run = lambda m, x: m.conv3(torch.relu(F.pixel_shuffle(m.conv2(torch.relu(m.conv1(x))), 2)))
    return Fn(run, conv1=conv(3, 16), conv2=conv(16, 16), conv3=conv(4, 16)), PICTURE


@network("operator")
def space_to_depth():
    run = lambda m, x: m.fc(torch.relu(m.conv2(F.pixel_unshuffle(torch.relu(m.conv1(x)), 2))).mean((2, 3)))
    return Fn(run, conv1=conv(3, 4), conv2=conv(16, 16), fc=nn.Linear(16, 5)), PICTURE


@network("operator")
def capsules():
    def run(m, x):
        x = torch.relu(m.conv1(x))
        u = m.primary(x).flatten(2).view(len(x), 4, 4, -1)
        u = u / (1 + u.norm(dim=2, keepdim=True))
        return m.fc(u.flatten(1))

    return Fn(run, conv1=conv(3, 16), primary=conv(16, 16), fc=nn.Linear(16 * 64, 5)), PICTURE


@network("operator")
def attention_heads_by_hand():
    """Attention in layers that are called fc, with heads."""

    def run(m, x):
        h = torch.relu(m.fc1(x))
        split = lambda t: t.view(*t.shape[:2], 4, 4).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(m.fc2(h)), split(m.fc3(h)), split(m.fc4(h)))
        return m.fc5(y.transpose(1, 2).flatten(2).mean(1))

    layers = {f"fc{i}": nn.Linear(16, 16) for i in range(2, 5)}
    return Fn(run, fc1=nn.Linear(12, 16), **layers, fc5=nn.Linear(16, 5)), lambda: torch.randn(2, 6, 12)


@network("operator")
def attention_pooling():
    def run(m, x):
        h = torch.relu(m.proj(x))
        weights = torch.softmax(m.score(torch.tanh(m.attend(h))), 1)
        return m.out((weights * h).sum(1))

    return Fn(run, proj=nn.Linear(12, 16), attend=nn.Linear(16, 16), score=nn.Linear(16, 1), out=nn.Linear(16, 5)), lambda: torch.randn(2, 6, 12)


@network("operator")
def nearest_neighbour_positions():
    run = lambda m, x: m.fc2(torch.relu(F.interpolate(m.fc1(x).unsqueeze(1), 16, mode="linear").squeeze(1)))
    return Fn(run, fc1=nn.Linear(12, 8), fc2=nn.Linear(16, 5)), VECTOR


@network("operator")
def complex_pairs():
    """Real and imaginary parts beside each other."""

    run = lambda m, x: m.fc3(torch.view_as_complex(torch.relu(m.fc2(torch.relu(m.fc1(x)))).view(len(x), -1, 2)).abs())
    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), fc3=nn.Linear(8, 5)), VECTOR


@network("parametrised")
def weight_norm_mlp():
    wn = torch.nn.utils.parametrizations.weight_norm
    return nn.Sequential(wn(nn.Linear(12, 16)), nn.ReLU(), wn(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 5)), VECTOR


@network("parametrised")
def weight_norm_old():
    wn = torch.nn.utils.weight_norm
    return nn.Sequential(wn(nn.Linear(12, 16)), nn.ReLU(), wn(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 5)), VECTOR


@network("parametrised")
def spectral_norm_mlp():
    sn = torch.nn.utils.parametrizations.spectral_norm
    return nn.Sequential(sn(nn.Linear(12, 16)), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5)), VECTOR


@network("parametrised")
def spectral_norm_cnn():
    sn = torch.nn.utils.spectral_norm
    run = lambda m, x: m.fc(torch.relu(m.conv2(torch.relu(m.conv1(x)))).mean((2, 3)))
    return Fn(run, conv1=sn(conv(3, 16)), conv2=sn(conv(16, 16)), fc=nn.Linear(16, 5)), PICTURE


@network("parametrised")
def mask_buffer():
    """A pruned layer: a mask that belongs to places."""

    class Masked(nn.Linear):
        def __init__(self, a, b):
            super().__init__(a, b)
            self.register_buffer("mask", (torch.arange(b)[:, None] + torch.arange(a)) % 3 > 0)

        def forward(self, x):
            return F.linear(x, self.weight * self.mask, self.bias)

    return nn.Sequential(Masked(12, 16), nn.ReLU(), Masked(16, 16), nn.ReLU(), nn.Linear(16, 5)), VECTOR


@network("parametrised")
def fixed_mask():
    """A mask that is no tensor: an autoregressive network."""

    class Masked(nn.Linear):
        def forward(self, x):
            rows, columns = torch.arange(self.out_features), torch.arange(self.in_features)
            return F.linear(x, self.weight * (rows[:, None] % 12 >= columns % 12), self.bias)

    return nn.Sequential(Masked(12, 16), nn.ReLU(), Masked(16, 16), nn.ReLU(), Masked(16, 12)), VECTOR


@network("parametrised")
def kan_like():
    """One spline an edge: three axes."""

    class Edges(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(b, a, 4))

        def forward(self, x):
            basis = torch.stack([x, x**2, torch.sin(x), torch.cos(x)], -1)
            return torch.einsum("bik,oik->bo", basis, self.weight)

    return nn.Sequential(Edges(12, 16), Edges(16, 16), Edges(16, 5)), VECTOR
