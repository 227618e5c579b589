"""Trains the small models that bench/quality/run.mjs merges, and writes them with the data that measures them.

    python bench/quality/train.py OUTPUT_FOLDER        (needs torch, numpy, safetensors and scikit-learn; about five minutes)

Three sets, each with three seeds. A seed is a base and three fine-tunes of it, each for a task of its own:

- pixels: a perceptron 64-48-48-10 on the UCI digits; the fine-tunes see the digits transposed, turned by 180 degrees and negative
- conv: a small convolutional network on the digits; the fine-tunes see them mirrored, turned by 90 degrees and shifted
- text: the next character after eight, by an embedding and a perceptron; the base has read a little of all texts, the fine-tunes one
  each: English prose, TypeScript and YAML, all of this repository

Weights are float16, which is what their size allows. The digits are CC BY 4.0 (UCI, through scikit-learn).
"""

import pathlib
import re
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(1)
SEEDS = (1, 2, 3)
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.float() / 16)))))


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 12, 3, 1, 1), nn.Conv2d(12, 24, 3, 2, 1)
        self.conv3, self.fc = nn.Conv2d(24, 24, 3, 2, 1), nn.Linear(96, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x.float().reshape(-1, 1, 8, 8) / 16))
        return self.fc(F.relu(self.conv3(F.relu(self.conv2(x)))).flatten(1))


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.fc1 = nn.Embedding(len(LETTERS), 10), nn.Linear(80, 48)
        self.fc2, self.head = nn.Linear(48, 40), nn.Linear(40, len(LETTERS))

    def forward(self, x):
        return self.head(F.relu(self.fc2(F.relu(self.fc1(self.embed(x.long()).flatten(1))))))


def fit(model, x, y, epochs, rate, seed):
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=order).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()


def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


LETTERS = "\n abcdefghijklmnopqrstuvwxyz0123456789.,:;'\"`()[]{}<>=+-*/_#|?"


def letters(text):
    text = re.sub(r'[^\n -~]+', '', text.lower())
    return np.array([LETTERS.index(c) if c in LETTERS else len(LETTERS) - 1 for c in text], dtype=np.uint8)


def windows(ids, count, seed):
    starts = np.random.default_rng(seed).choice(len(ids) - 9, count, replace=False)
    rows = np.stack([ids[s : s + 9] for s in sorted(starts)])
    return torch.tensor(rows[:, :8]), torch.tensor(rows[:, 8].astype(np.int64))


def digits(epochs, transforms):
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = images.reshape(-1, 8, 8).astype(np.uint8)[order]
    y = torch.tensor(labels[order].astype(np.int64))

    def part(transform):
        x = torch.tensor(np.ascontiguousarray(transform(images)).reshape(-1, 64))
        return {'train': (x[:1000], y[:1000]), 'val': (x[1000:1150], y[1000:1150]), 'test': (x[1300:], y[1300:])}

    plain = part(lambda x: x)
    return {
        'base': (plain['train'], 30),
        'tasks': {name: part(transform) for name, transform in transforms.items()},
        'epochs': epochs,
        # Tasks are the same images with their pixels elsewhere.
        'images': part(lambda x: x),
        'places': {name: transform(np.arange(64).reshape(1, 8, 8)).reshape(64) for name, transform in transforms.items()},
    }


def texts():
    def read(pattern):
        # In an order that does not depend on the file system.
        return letters('\n'.join(path.read_text() for path in sorted(ROOT.glob(pattern))))

    sources = {'prose': read('docs/*.md'), 'code': read('src/*/*.ts'), 'data': read('scripts/errors/*.yml')}
    tasks, base = {}, []
    for index, (name, ids) in enumerate(sources.items()):
        cut = len(ids) * 4 // 5
        tasks[name] = {
            'train': windows(ids[:cut], 20000, 10 + index),
            'val': windows(ids[cut : cut + len(ids) // 10], 500, 20 + index),
            'test': windows(ids[cut + len(ids) // 10 :], 900, 30 + index),
        }
        base.append(windows(ids[:cut], 2000, 40 + index))
    mixed = tuple(torch.cat(parts) for parts in zip(*base))
    return {'base': (mixed, 6), 'tasks': tasks, 'epochs': 6}


SETS = {
    'pixels': (
        Pixels,
        lambda: digits(
            40,
            {
                'transposed': lambda x: x.transpose(0, 2, 1),
                'turned': lambda x: x[:, ::-1, ::-1],
                'negative': lambda x: 16 - x,
            }
        ),
    ),
    'conv': (
        Conv,
        lambda: digits(
            25,
            {
                'mirrored': lambda x: x[:, :, ::-1],
                'quarter': lambda x: np.rot90(x, axes=(1, 2)),
                'shifted': lambda x: np.roll(x, (2, 3), axis=(1, 2)),
            }
        ),
    ),
    'text': (Text, texts),
}


def main(output):
    for name, (network, data) in SETS.items():
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        found = data()
        held = {}

        def hold(prefix, parts):
            # Statistics for fisher and regmean come from training data.
            for part, (x, y) in parts.items():
                x, y = (x[:256], y[:256]) if part == 'train' else (x, y)
                held[f'{prefix}{part}.x'], held[f'{prefix}{part}.y'] = x.clone(), y.to(torch.uint8)

        if 'images' in found:
            hold('', found['images'])
        for task, parts in found['tasks'].items():
            if 'images' not in found:
                hold(f'{task}.', parts)
            elif task == 'negative':
                held[f'{task}.negative'] = torch.tensor([1], dtype=torch.uint8)
            else:
                held[f'{task}.places'] = torch.tensor(found['places'][task].astype(np.uint8))
        save_file(held, folder / 'data.safetensors')
        for seed in SEEDS:
            torch.manual_seed(seed)
            base = network()
            (x, y), epochs = found['base']
            fit(base, x, y, epochs, 2e-3, seed)

            def save(model, kind):
                tensors = {key: value.half().contiguous() for key, value in model.state_dict().items()}
                save_file(tensors, folder / f'{seed}-{kind}.safetensors')

            save(base, 'base')
            for index, (task, parts) in enumerate(found['tasks'].items()):
                tuned = network()
                tuned.load_state_dict(base.state_dict())
                fit(tuned, *parts['train'], found['epochs'], 1e-3, 100 * seed + index)
                save(tuned, task)
                print(name, seed, task, *(f'{accuracy(m, *parts["test"]):.3f}' for m in (base, tuned)), flush=True)


main(pathlib.Path(sys.argv[1]))
