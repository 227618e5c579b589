"""The networks of the alignment bench: small, on UCI's handwritten digits of 8 x 8 pixels."""
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F


class MLP(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        sizes = [64] + [width] * depth + [10]
        self.names = [f'fc{i + 1}' for i in range(depth + 1)]
        for name, a, b in zip(self.names, sizes, sizes[1:]):
            self.add_module(name, nn.Linear(a, b))

    def forward(self, x):
        x = x.flatten(1)
        for name in self.names[:-1]:
            x = F.relu(getattr(self, name)(x))
        return getattr(self, self.names[-1])(x)


def vgg(width):
    layers, before = [], 1
    for item in [1, 1, 'M', 2, 2, 'M', 4, 4]:
        if item == 'M':
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(before, item * width, 3, padding=1), nn.BatchNorm2d(item * width), nn.ReLU()]
        before = item * width
    net = nn.Module()
    net.features = nn.Sequential(*layers)
    net.classifier = nn.Linear(before, 10)
    net.forward = lambda x: net.classifier(net.features(x).mean((2, 3)))
    return net


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(b)
        self.downsample = None
        if stride > 1 or a != b:
            self.downsample = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.conv1 = nn.Conv2d(1, w, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.layer1 = nn.Sequential(Block(w, w, 1))
        self.layer2 = nn.Sequential(Block(w, 2 * w, 2))
        self.layer3 = nn.Sequential(Block(2 * w, 4 * w, 2))
        self.fc = nn.Linear(4 * w, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def vit(d):
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(image_size=8, patch_size=2, num_channels=1, hidden_size=d, num_hidden_layers=3,
                       num_attention_heads=4, intermediate_size=2 * d, num_labels=10,
                       hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation='eager')
    return ViTForImageClassification(config)


NETWORKS = {
    'mlp64x4': lambda: MLP(64, 4),
    'mlp128x6': lambda: MLP(128, 6),
    'vgg16': lambda: vgg(16),
    'resnet8': lambda: ResNet(8),
    'resnet32': lambda: ResNet(32),
    'vit48': lambda: vit(48),
}


def digits(folder):
    """Images [n, 1, 8, 8] and labels of `train.safetensors` and `test.safetensors` (`images` U8 [n, 64], `labels` U8 [n])."""
    data = []
    for name in ['train', 'test']:
        file = load_file(f'{folder}/{name}.safetensors')
        data += [file['images'].float().view(-1, 1, 8, 8) / 16, file['labels'].long()]
    return data


def logits(net, x):
    out = net(x)
    return out.logits if hasattr(out, 'logits') else out


def train(net, x, y, epochs, rate, batch=64):
    """Trains a network on images and labels, and leaves it in training mode."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * (len(x) // batch))
    net.train()
    for _ in range(epochs):
        for at in torch.randperm(len(x))[: len(x) // batch * batch].view(-1, batch):
            optimizer.zero_grad()
            F.cross_entropy(logits(net, x[at]), y[at]).backward()
            optimizer.step()
            schedule.step()
