"""Layers used twice, tied weights, and modules that are not what their shapes say."""

import torch
from torch import nn
from torch.nn import functional as F

from harness import network
from networks.residuals import Fn, conv

PICTURE = lambda: torch.randn(2, 3, 8, 8)
VECTOR = lambda: torch.randn(4, 12)
SQUARE = lambda: torch.randn(4, 16)


@network("used twice")
def layer_used_twice():
    def run(m, x):
        x = torch.relu(m.fc1(x))
        x = torch.relu(m.fc2(x))
        return m.fc3(torch.relu(m.fc2(x)))

    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), fc3=nn.Linear(16, 5)), VECTOR


@network("used twice")
def convolution_used_twice():
    def run(m, x):
        x = torch.relu(m.conv1(x))
        for _ in range(3):
            x = torch.relu(m.conv2(x))
        return m.fc(x.mean((2, 3)))

    return Fn(run, conv1=conv(3, 16), conv2=conv(16, 16), fc=nn.Linear(16, 5)), PICTURE


@network("used twice")
def deep_equilibrium():
    def run(m, x):
        x = m.inject(x)
        z = torch.zeros_like(x)
        for _ in range(4):
            z = torch.tanh(m.cell(z) + x)
        return m.head(z)

    return Fn(run, inject=nn.Linear(12, 16), cell=nn.Linear(16, 16), head=nn.Linear(16, 5)), VECTOR


@network("used twice")
def recurrent_by_hand():
    def run(m, x):
        h = torch.zeros(len(x), 16, dtype=x.dtype)
        for step in x.unbind(1):
            h = torch.tanh(m.i2h(step) + m.h2h(h))
        return m.out(h)

    return Fn(run, i2h=nn.Linear(12, 16), h2h=nn.Linear(16, 16), out=nn.Linear(16, 5)), lambda: torch.randn(2, 5, 12)


@network("used twice")
def tied_autoencoder():
    def run(m, x):
        h = torch.relu(m.fc1(x))
        z = torch.relu(m.fc2(h))
        return F.linear(torch.relu(F.linear(z, m.fc2.weight.t())), m.fc1.weight.t())

    return Fn(run, fc1=nn.Linear(16, 16), fc2=nn.Linear(16, 16)), SQUARE


@network("used twice")
def tied_autoencoder_with_biases():
    def run(m, x):
        z = torch.relu(m.encoder(x))
        return F.linear(z, m.encoder.weight.t(), m.decoder_bias)

    module = Fn(run, encoder=nn.Linear(12, 16), head=nn.Linear(16, 16))
    module.decoder_bias = nn.Parameter(torch.zeros(12))
    return module, VECTOR


@network("used twice")
def weights_used_transposed():
    def run(m, x):
        h = torch.relu(m.fc1(x))
        h = torch.relu(m.fc2(h))
        return m.fc3(F.linear(h, m.fc2.weight.t()))

    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 20), fc3=nn.Linear(16, 5)), VECTOR


@network("used twice")
def cycle_of_two():
    """Encoder and decoder that are also used the other way round."""

    def run(m, x):
        y = m.dec(torch.relu(m.enc(x)))
        return y, m.enc(torch.relu(m.dec(x)))

    return Fn(run, enc=nn.Linear(16, 16), dec=nn.Linear(16, 16)), SQUARE


@network("another module")
def bilinear():
    run = lambda m, x: m.out(torch.relu(m.bilinear(h := torch.relu(m.fc1(x)), torch.relu(m.fc2(h)))))
    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), bilinear=nn.Bilinear(16, 16, 16), out=nn.Linear(16, 5)), VECTOR


@network("another module")
def bilinear_first():
    run = lambda m, a, b: m.fc2(torch.relu(m.fc1(torch.relu(m.mix(a, b)))))
    return Fn(run, mix=nn.Bilinear(16, 16, 16), fc1=nn.Linear(16, 16), fc2=nn.Linear(16, 5)), lambda: (torch.randn(4, 16), torch.randn(4, 16))


@network("another module")
def square_embedding():
    run = lambda m, x: m.fc2(torch.relu(m.fc1(m.lookup(x).mean(1))))
    return Fn(run, lookup=nn.Embedding(16, 16), fc1=nn.Linear(16, 16), fc2=nn.Linear(16, 5)), lambda: torch.randint(0, 16, (4, 6))


@network("another module")
def embedding_flattened():
    run = lambda m, x: m.fc2(torch.relu(m.fc1(m.emb(x).flatten(1))))
    return Fn(run, emb=nn.Embedding(32, 16), fc1=nn.Linear(48, 16), fc2=nn.Linear(16, 5)), lambda: torch.randint(0, 32, (4, 3))


@network("another module")
def two_square_embeddings():
    run = lambda m, x: m.fc2(torch.relu(m.fc1(m.a(x) + m.b(x.flip(1))).mean(1)))
    return Fn(run, a=nn.Embedding(16, 16), b=nn.Embedding(16, 16), fc1=nn.Linear(16, 16), fc2=nn.Linear(16, 5)), lambda: torch.randint(0, 16, (4, 6))


@network("another module")
def embedding_bag_sequential():
    run = lambda m, x: m.layers(m.table(x))
    return Fn(run, table=nn.EmbeddingBag(16, 16, mode="sum"), layers=nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))), lambda: torch.randint(0, 16, (4, 6))


@network("another module")
def matrix_parameter():
    """`x @ weight`, as by hand and in Conv1D."""

    class Dense(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(a, b)), nn.Parameter(torch.zeros(b))

        def forward(self, x):
            return x @ self.weight + self.bias

    run = lambda m, x: m.l3(torch.relu(m.l2(torch.relu(m.l1(x)))))
    return Fn(run, l1=Dense(16, 16), l2=Dense(16, 16), l3=Dense(16, 16)), SQUARE


@network("another module")
def vector_quantiser():
    def run(m, x):
        z = m.enc(x)
        nearest = torch.cdist(z, m.codebook.weight).argmin(1)
        return m.dec(m.codebook(nearest))

    return Fn(run, enc=nn.Linear(12, 16), codebook=nn.Embedding(16, 16), dec=nn.Linear(16, 12)), VECTOR


@network("transposed")
def conv_autoencoder_square():
    run = lambda m, x: m.d2(torch.relu(m.d1(torch.relu(m.e2(torch.relu(m.e1(x)))))))
    return (
        Fn(run, e1=nn.Conv2d(3, 16, 2, stride=2), e2=nn.Conv2d(16, 16, 2, stride=2), d1=nn.ConvTranspose2d(16, 16, 2, stride=2), d2=nn.ConvTranspose2d(16, 3, 2, stride=2)),
        PICTURE,
    )


@network("transposed")
def conv_autoencoder_sequential():
    encoder = nn.Sequential(nn.Conv2d(3, 16, 2, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 2, stride=2), nn.ReLU())
    decoder = nn.Sequential(nn.ConvTranspose2d(16, 16, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(16, 16, 2, stride=2), nn.ReLU(), nn.Conv2d(16, 3, 1))
    return Fn(lambda m, x: m.decoder(m.encoder(x)), encoder=encoder, decoder=decoder), PICTURE


@network("transposed")
def dcgan_generator():
    main = nn.Sequential(
        nn.ConvTranspose2d(16, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False), nn.Tanh()
    )
    return Fn(lambda m, x: m.main(x), main=main), lambda: torch.randn(2, 16, 1, 1)


@network("transposed")
def upsampler_1d():
    run = lambda m, x: m.post(torch.relu(m.ups(torch.relu(m.pre(x)))))
    return Fn(run, pre=nn.Conv1d(4, 16, 3, padding=1), ups=nn.Sequential(nn.ConvTranspose1d(16, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose1d(16, 16, 4, 2, 1)), post=nn.Conv1d(16, 1, 3, padding=1)), lambda: torch.randn(2, 4, 12)


@network("transposed")
def grouped_transposed():
    run = lambda m, x: m.c3(torch.relu(m.c2(torch.relu(m.c1(x)))))
    return Fn(run, c1=conv(3, 16), c2=nn.ConvTranspose2d(16, 16, 2, stride=2, groups=4), c3=conv(16, 3)), PICTURE


@network("grouped")
def grouped_convolution():
    run = lambda m, x: m.fc(torch.relu(m.c2(torch.relu(m.c1(x)))).mean((2, 3)))
    return Fn(run, c1=conv(3, 16), c2=nn.Conv2d(16, 16, 3, groups=4), fc=nn.Linear(16, 5)), PICTURE


@network("grouped")
def depthwise_multiplier():
    run = lambda m, x: m.fc(torch.relu(m.c2(torch.relu(m.c1(x)))).mean((2, 3)))
    return Fn(run, c1=conv(3, 16), c2=nn.Conv2d(16, 32, 3, groups=16), fc=nn.Linear(32, 5)), PICTURE


@network("grouped")
def channel_shuffle():
    def run(m, x):
        x = torch.relu(m.c1(x))
        x = F.channel_shuffle(torch.relu(m.c2(x)), 4)
        return m.fc(torch.relu(m.c3(x)).mean((2, 3)))

    return Fn(run, c1=conv(3, 16), c2=nn.Conv2d(16, 16, 1), c3=nn.Conv2d(16, 16, 3, groups=16), fc=nn.Linear(16, 5)), PICTURE
