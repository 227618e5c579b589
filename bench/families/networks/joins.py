"""Concatenations, flattening in another order, branches: sizes that fit a chain which is none."""

import torch
from torch import nn
from torch.nn import functional as F

from harness import network
from networks.residuals import Fn, conv

PICTURE = lambda: torch.randn(2, 3, 8, 8)
VECTOR = lambda: torch.randn(4, 12)


@network("concatenation")
def two_poolings():
    run = lambda m, x: m.fc(torch.cat([(h := torch.relu(m.conv2(torch.relu(m.conv1(x))))).mean((2, 3)), h.amax((2, 3))], 1))
    return Fn(run, conv1=conv(3, 12), conv2=conv(12, 16), fc=nn.Linear(32, 5)), PICTURE


@network("concatenation")
def spatial_pyramid_pooling():
    def run(m, x):
        x = torch.relu(m.conv2(torch.relu(m.conv1(x))))
        x = torch.cat([F.adaptive_max_pool2d(x, n).flatten(1) for n in (1, 2, 4)], 1)
        return m.fc2(torch.relu(m.fc1(x)))

    return Fn(run, conv1=conv(3, 12), conv2=conv(12, 16), fc1=nn.Linear(16 * 21, 20), fc2=nn.Linear(20, 5)), PICTURE


@network("concatenation")
def multimodal():
    def run(m, image, other):
        x = torch.relu(m.conv2(torch.relu(m.conv1(image)))).mean((2, 3))
        return m.fc2(torch.relu(m.fc1(torch.cat([x, other], 1))))

    return Fn(run, conv1=conv(3, 12), conv2=conv(12, 16), fc1=nn.Linear(32, 20), fc2=nn.Linear(20, 5)), lambda: (torch.randn(2, 3, 8, 8), torch.randn(2, 16))


@network("concatenation")
def multimodal_towers():
    def run(m, a, b):
        return m.head(torch.relu(m.fuse(torch.cat([torch.relu(m.image_fc(a)), torch.relu(m.text_fc(b))], 1))))

    return Fn(run, image_fc=nn.Linear(12, 16), text_fc=nn.Linear(16, 16), fuse=nn.Linear(32, 16), head=nn.Linear(16, 5)), lambda: (torch.randn(4, 12), torch.randn(4, 16))


@network("concatenation")
def coordconv():
    def run(m, x):
        grid = torch.linspace(-1, 1, 8, dtype=x.dtype)
        coords = torch.stack(torch.meshgrid(grid, grid, indexing="ij")).expand(len(x), 2, 8, 8)
        x = torch.relu(m.conv1(torch.cat([x, coords], 1)))
        x = torch.relu(m.conv2(torch.cat([x, coords], 1)))
        return m.fc(x.mean((2, 3)))

    # 14 + 2 channels: conv1 gives 14, and conv2 takes 16.
    return Fn(run, conv1=conv(5, 14), conv2=conv(16, 16), fc=nn.Linear(16, 5)), PICTURE


@network("concatenation")
def coordconv_to_linear():
    def run(m, x):
        h = torch.relu(m.conv1(x)).flatten(1)
        return m.fc2(torch.relu(m.fc1(torch.cat([h, x[:, :, 0, :2].flatten(1), x[:, :2, 0, 0], h[:, :8]], 1))))

    return Fn(run, conv1=conv(3, 16), fc1=nn.Linear(16 * 65, 20), fc2=nn.Linear(20, 5)), PICTURE


@network("concatenation")
def siamese_concat():
    def run(m, a, b):
        tower = lambda x: torch.relu(m.conv2(torch.relu(m.conv1(x)))).mean((2, 3))
        return m.fc2(torch.relu(m.fc1(torch.cat([tower(a), tower(b)], 1))))

    return Fn(run, conv1=conv(3, 12), conv2=conv(12, 16), fc1=nn.Linear(32, 20), fc2=nn.Linear(20, 5)), lambda: (torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8))


@network("concatenation")
def siamese_difference():
    def run(m, a, b):
        tower = lambda x: torch.relu(m.fc2(torch.relu(m.fc1(x))))
        return m.out((tower(a) - tower(b)).abs())

    return Fn(run, fc1=nn.Linear(12, 24), fc2=nn.Linear(24, 16), out=nn.Linear(16, 1)), lambda: (torch.randn(4, 12), torch.randn(4, 12))


@network("concatenation")
def textcnn():
    def run(m, x):
        x = m.embedding(x).unsqueeze(1)
        x = [torch.relu(c(x)).squeeze(3).amax(2) for c in m.convs]
        return m.fc(torch.cat(x, 1))

    convs = nn.ModuleList(nn.Conv2d(1, 16, (k, 16)) for k in (3, 4, 5))
    return Fn(run, embedding=nn.Embedding(50, 16), convs=convs, fc=nn.Linear(48, 5)), lambda: torch.randint(0, 50, (3, 12))


@network("concatenation")
def textcnn_conv1d():
    def run(m, x):
        x = m.embedding(x).transpose(1, 2)
        x = [torch.relu(c(x)).amax(2) for c in (m.conv1, m.conv2, m.conv3)]
        return m.fc(torch.cat(x, 1))

    convs = {f"conv{i}": nn.Conv1d(16, 16, k) for i, k in enumerate((3, 4, 5), 1)}
    return Fn(run, embedding=nn.Embedding(50, 16), **convs, fc=nn.Linear(48, 5)), lambda: torch.randint(0, 50, (3, 12))


@network("concatenation")
def crelu():
    def run(m, x):
        x = m.conv1(x)
        x = torch.relu(torch.cat([x, -x], 1))
        return m.fc(torch.relu(m.conv2(x)).mean((2, 3)))

    return Fn(run, conv1=conv(3, 16), conv2=conv(32, 16), fc=nn.Linear(16, 5)), PICTURE


@network("concatenation")
def crelu_to_linear():
    run = lambda m, x: m.fc2(torch.cat([torch.relu(h := m.conv(x).mean((2, 3))), torch.relu(-h)], 1))
    return Fn(run, conv=conv(3, 16), fc2=nn.Linear(32, 5)), PICTURE


@network("concatenation")
def statistics_pooling():
    """Mean and deviation over time, as in speaker networks."""

    def run(m, x):
        x = torch.relu(m.tdnn2(torch.relu(m.tdnn1(x))))
        return m.out(torch.relu(m.segment(torch.cat([x.mean(2), x.std(2)], 1))))

    return Fn(run, tdnn1=nn.Conv1d(4, 16, 3), tdnn2=nn.Conv1d(16, 16, 3), segment=nn.Linear(32, 16), out=nn.Linear(16, 5)), lambda: torch.randn(2, 4, 20)


@network("concatenation")
def dense_block():
    def run(m, x):
        parts = [torch.relu(m.conv0(x))]
        for layer in (m.conv1, m.conv2):
            parts.append(torch.relu(layer(torch.cat(parts, 1))))
        return m.fc(torch.cat(parts, 1).mean((2, 3)))

    return Fn(run, conv0=conv(3, 16), conv1=conv(16, 16), conv2=conv(32, 16), fc=nn.Linear(48, 5)), PICTURE


@network("concatenation")
def inception_like():
    def run(m, x):
        x = torch.relu(m.stem(x))
        x = torch.cat([m.branch1(x), m.branch3(x), m.branch5(x)], 1)
        return m.fc(x.mean((2, 3)))

    return Fn(run, stem=conv(3, 16), branch1=nn.Conv2d(16, 16, 1), branch3=conv(16, 16), branch5=conv(16, 16, 5), fc=nn.Linear(48, 5)), PICTURE


@network("concatenation")
def squeeze_fire():
    class Fire(nn.Module):
        def __init__(self, a):
            super().__init__()
            self.squeeze, self.expand1x1, self.expand3x3 = nn.Conv2d(a, 8, 1), nn.Conv2d(8, 16, 1), conv(8, 16)

        def forward(self, x):
            x = torch.relu(self.squeeze(x))
            return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)

    run = lambda m, x: m.classifier(m.features(x).mean((2, 3)))
    return Fn(run, features=nn.Sequential(conv(3, 16), Fire(16), Fire(32)), classifier=nn.Linear(32, 5)), PICTURE


@network("concatenation")
def bidirectional_read():
    """A sequence read forwards and backwards by one layer."""

    run = lambda m, x: m.fc2(torch.relu(m.fc1(torch.cat([torch.relu(m.proj(x)).amax(1), torch.relu(m.proj(x.flip(1))).mean(1)], 1))))
    return Fn(run, proj=nn.Linear(12, 16), fc1=nn.Linear(32, 16), fc2=nn.Linear(16, 5)), lambda: torch.randn(2, 6, 12)


@network("flatten")
def flatten_nhwc():
    run = lambda m, x: m.fc(torch.relu(m.conv2(torch.relu(m.conv1(x)))).permute(0, 2, 3, 1).flatten(1))
    return Fn(run, conv1=conv(3, 12), conv2=conv(12, 16), fc=nn.Linear(16 * 64, 5)), PICTURE


@network("flatten")
def flatten_nhwc_vgg_names():
    run = lambda m, x: m.classifier(m.features(x).permute(0, 2, 3, 1).flatten(1))
    features = nn.Sequential(conv(3, 12), nn.ReLU(), nn.MaxPool2d(2), conv(12, 16), nn.ReLU(), nn.MaxPool2d(2))
    return Fn(run, features=features, classifier=nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 5))), PICTURE


@network("flatten")
def conv1d_time_flatten():
    run = lambda m, x: m.fc(torch.relu(m.conv2(torch.relu(m.conv1(x)))).transpose(1, 2).flatten(1))
    return Fn(run, conv1=nn.Conv1d(4, 12, 3, padding=1), conv2=nn.Conv1d(12, 16, 3, padding=1), fc=nn.Linear(16 * 10, 5)), lambda: torch.randn(2, 4, 10)


@network("flatten")
def conv1d_over_time_as_channels():
    """A linear layer whose outputs become channels of a convolution, and the other way round."""

    def run(m, x):
        x = torch.relu(m.proj(x))
        x = torch.relu(m.conv(x))
        return m.fc(x.mean(1))

    # 16 steps are the channels; features of proj are places.
    return Fn(run, proj=nn.Linear(12, 16), conv=nn.Conv1d(16, 16, 3, padding=1), fc=nn.Linear(16, 5)), lambda: torch.randn(2, 16, 12)


@network("flatten")
def mixer_like():
    def run(m, x):
        x = m.embed(x)
        x = m.tokens2(torch.relu(m.tokens1(x.transpose(1, 2)))).transpose(1, 2)
        x = m.channels2(torch.relu(m.channels1(x)))
        return m.head(x.mean(1))

    return Fn(run, embed=nn.Linear(12, 16), tokens1=nn.Linear(16, 24), tokens2=nn.Linear(24, 16), channels1=nn.Linear(16, 24), channels2=nn.Linear(24, 16), head=nn.Linear(16, 5)), lambda: torch.randn(2, 16, 12)


@network("flatten")
def reshape_into_steps():
    """Hidden units become time steps of one channel."""

    run = lambda m, x: m.fc2(torch.relu(m.conv(torch.relu(m.fc1(x)).unsqueeze(1))).flatten(1))
    return Fn(run, fc1=nn.Linear(12, 16), conv=nn.Conv1d(1, 16, 3, padding=1), fc2=nn.Linear(256, 5)), VECTOR


@network("flatten")
def linear_over_width():
    """A linear layer on the last axis of a picture."""

    run = lambda m, x: m.fc2(torch.relu(m.fc1(torch.relu(m.conv(x)))).mean((1, 2)))
    return Fn(run, conv=conv(3, 8), fc1=nn.Linear(8, 16), fc2=nn.Linear(16, 5)), PICTURE


@network("flatten")
def generator_unflatten():
    def run(m, x):
        x = torch.relu(m.fc(x)).view(-1, 16, 4, 4)
        return m.conv2(torch.relu(m.conv1(x)))

    return Fn(run, fc=nn.Linear(12, 256), conv1=conv(16, 16), conv2=conv(16, 3)), VECTOR


@network("branches")
def added_branches():
    run = lambda m, x: m.out(torch.relu(m.left(x)) + torch.relu(m.right(x)))
    return Fn(run, left=nn.Linear(16, 16), right=nn.Linear(16, 16), out=nn.Linear(16, 5)), lambda: torch.randn(4, 16)


@network("branches")
def added_convolutions():
    def run(m, x):
        x = torch.relu(m.conv1(x))
        return m.fc(torch.relu(m.conv2(x) + m.conv3(x)).mean((2, 3)))

    return Fn(run, conv1=conv(3, 16), conv2=conv(16, 16), conv3=conv(16, 16, 5), fc=nn.Linear(16, 5)), PICTURE


@network("branches")
def multiplied_branches():
    run = lambda m, x: m.out(m.value(x) * torch.sigmoid(m.gate(x)))
    return Fn(run, value=nn.Linear(12, 16), gate=nn.Linear(12, 16), out=nn.Linear(16, 5)), VECTOR


@network("branches")
def multiplicative_unit():
    def run(m, x):
        h = torch.relu(m.fc1(x))
        return m.fc4(m.fc2(h) * m.fc3(h))

    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), fc3=nn.Linear(16, 16), fc4=nn.Linear(16, 5)), VECTOR


@network("branches")
def actor_critic():
    def run(m, x):
        h = torch.tanh(m.fc2(torch.tanh(m.fc1(x))))
        return m.actor(h), m.critic(h)

    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), actor=nn.Linear(16, 4), critic=nn.Linear(16, 1)), VECTOR


@network("branches")
def actor_critic_towers():
    net = lambda out: nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, out))
    return Fn(lambda m, x: (m.actor(x), m.critic(x)), actor=net(16), critic=net(1)), lambda: torch.randn(4, 16)


@network("branches")
def actor_critic_first():
    """The critic's sizes continue the actor's."""

    net = lambda: nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 12))
    return Fn(lambda m, x: (m.actor(x), m.critic(x)), actor=net(), critic=net()), VECTOR


@network("branches")
def dueling():
    def run(m, x):
        h = torch.relu(m.fc1(x))
        value, advantage = m.value2(torch.relu(m.value1(h))), m.advantage2(torch.relu(m.advantage1(h)))
        return value + advantage - advantage.mean(1, keepdim=True)

    return Fn(run, fc1=nn.Linear(12, 16), value1=nn.Linear(16, 16), value2=nn.Linear(16, 1), advantage1=nn.Linear(16, 16), advantage2=nn.Linear(16, 4)), VECTOR


@network("branches")
def deeponet():
    def run(m, u, y):
        return (m.branch(u) * m.trunk(y)).sum(1, keepdim=True)

    net = lambda a: nn.Sequential(nn.Linear(a, 16), nn.Tanh(), nn.Linear(16, 16))
    return Fn(run, branch=net(16), trunk=net(16)), lambda: (torch.randn(4, 16), torch.randn(4, 16))


@network("branches")
def deeponet_flat():
    def run(m, u, y):
        return (m.branch2(torch.relu(m.branch1(u))) * m.trunk2(torch.relu(m.trunk1(y)))).sum(1)

    return Fn(run, branch1=nn.Linear(16, 16), branch2=nn.Linear(16, 16), trunk1=nn.Linear(16, 16), trunk2=nn.Linear(16, 16)), lambda: (torch.randn(4, 16), torch.randn(4, 16))


@network("branches")
def two_towers_product():
    """A recommender: users and items, and their inner product."""

    def run(m, u, v):
        return (m.user_fc(m.user_emb(u)) * m.item_fc(m.item_emb(v))).sum(1)

    return Fn(run, user_emb=nn.Embedding(16, 16), item_emb=nn.Embedding(16, 16), user_fc=nn.Linear(16, 16), item_fc=nn.Linear(16, 16)), lambda: (torch.randint(0, 16, (4,)), torch.randint(0, 16, (4,)))


@network("branches")
def vae():
    def run(m, x):
        h = torch.relu(m.fc1(x))
        mean, log = m.fc21(h), m.fc22(h)
        z = mean + torch.exp(0.1 * log)
        return m.fc4(torch.relu(m.fc3(z)))

    return Fn(run, fc1=nn.Linear(12, 16), fc21=nn.Linear(16, 16), fc22=nn.Linear(16, 16), fc3=nn.Linear(16, 16), fc4=nn.Linear(16, 12)), VECTOR


@network("branches")
def mixture_of_experts():
    def run(m, x):
        weights = torch.softmax(m.gate(x), 1)
        return m.out(sum(weights[:, i : i + 1] * torch.relu(expert(x)) for i, expert in enumerate(m.experts)))

    return Fn(run, gate=nn.Linear(16, 3), experts=nn.ModuleList(nn.Linear(16, 16) for _ in range(3)), out=nn.Linear(16, 5)), lambda: torch.randn(4, 16)


@network("branches")
def deep_supervision():
    def run(m, x):
        a = torch.relu(m.fc1(x))
        b = torch.relu(m.fc2(a))
        return m.head1(a), m.head2(b)

    return Fn(run, fc1=nn.Linear(12, 16), fc2=nn.Linear(16, 16), head1=nn.Linear(16, 16), head2=nn.Linear(16, 16)), VECTOR


@network("branches")
def hypernetwork():
    """Outputs of one layer are the weights of another."""

    def run(m, x):
        weights = m.make(torch.relu(m.fc1(x))).view(-1, 16, 12)
        return m.out(torch.relu(torch.einsum("bij,bj->bi", weights, x)))

    return Fn(run, fc1=nn.Linear(12, 16), make=nn.Linear(16, 192), out=nn.Linear(16, 5)), VECTOR


@network("branches")
def film():
    def run(m, x, c):
        h = torch.relu(m.fc1(x))
        h = h * m.scale(c) + m.shift(c)
        return m.fc2(torch.relu(h))

    return Fn(run, fc1=nn.Linear(12, 16), scale=nn.Linear(16, 16), shift=nn.Linear(16, 16), fc2=nn.Linear(16, 5)), lambda: (torch.randn(4, 12), torch.randn(4, 16))


@network("branches")
def squeeze_excite_flat():
    def run(m, x):
        x = torch.relu(m.conv1(x))
        s = torch.sigmoid(m.fc2(torch.relu(m.fc1(x.mean((2, 3))))))
        return m.head((x * s[:, :, None, None]).mean((2, 3)))

    return Fn(run, conv1=conv(3, 16), fc1=nn.Linear(16, 16), fc2=nn.Linear(16, 16), head=nn.Linear(16, 5)), PICTURE
