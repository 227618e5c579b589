"""python widths.py DIGITS WORK [ZIPIT]: zips networks of other and of the same widths, and prints the accuracy on test data.

Trains MLPs and VGGs on the digits (see networks.py), writes their activations with the script of docs/statistics.md, and zips
pairs of them with terge. ZIPIT: a copy of the repository of the paper (arXiv 2305.03053). Its matching function then makes
the merge matrices of the same activations, beside ours. Needs `npm run build`.
"""
import json
import os
import re
import subprocess
import sys

import torch
from networks import MLP, digits, logits, train, vgg
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, '..', '..')
data, work, *more = sys.argv[1:]
os.makedirs(work, exist_ok=True)
x, y, tx, ty = digits(data)
SEEDS = 4
SAMPLES = 512

with open(os.path.join(root, 'docs', 'statistics.md')) as page:
    blocks = re.findall(r'```python\n(.*?)```', page.read(), re.S)
exec(next(block for block in blocks if 'def activations' in block).split('if __name__')[0])


def terge(*args, recipe=None):
    if recipe:
        with open(f'{work}/recipe.yml', 'w') as file:
            file.write(recipe)
    result = subprocess.run(['node', f'{root}/bin/run.js', *args], cwd=work, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    return result.stdout


def accuracy(net, state=None):
    if state is not None:
        net.load_state_dict(state)
    net.eval()
    with torch.no_grad():
        return (logits(net, tx).argmax(1) == ty).float().mean().item()


def measured(net, state):
    """The same with the statistics of its BatchNorms measured on training data."""
    net.load_state_dict(state)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    net.train()
    with torch.no_grad():
        for batch in x[:1024].split(128):
            net(batch)
    return accuracy(net)


def trained(name, make, seed):
    file = f'{name}-{seed}.safetensors'
    torch.manual_seed(seed)
    net = make()
    if not os.path.exists(f'{work}/{file}'):
        train(net, x, y, epochs=25, rate=3e-3)
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, f'{work}/{file}')
    net.load_state_dict(load_file(f'{work}/{file}'))
    net.eval()
    if not os.path.exists(f'{work}/{name}-{seed}-activations.safetensors'):
        spec = json.loads(terge('inspect', file, '--spec', '--json'))
        found = activations(net, spec, x[:SAMPLES].split(128))
        save_file(found, f'{work}/{name}-{seed}-activations.safetensors')
    return net


def zipped(a, b, rest, statistics=True):
    files = f'statistics: {{a: {a}-activations.safetensors, b: {b}-activations.safetensors}}, ' if statistics else ''
    terge('run', 'recipe.yml', '--force', recipe=f'''terge: 1
models: {{a: {a}.safetensors, b: {b}.safetensors}}
zip: {{models: [a, b], spec: chain, {files}{rest}}}
output: out.safetensors
''')
    return load_file(f'{work}/out.safetensors')


def averaged(a, b):
    """The mean with zeros for missing units, without any matching."""
    big, small = (load_file(f'{work}/{name}.safetensors') for name in (a, b))
    for key, value in big.items():
        other = torch.zeros_like(value)
        other[tuple(slice(size) for size in small[key].shape)] = small[key]
        big[key] = (value + other) / 2 if value.is_floating_point() else value
    return big


def reference(a, b, width):
    """ZipIt's own matching function on what leaves each layer after its ReLU, for MLPs: α .3, no limit within models."""
    sys.path.insert(0, more[0])
    from matching_functions import match_tensors_zipit

    states = [load_file(f'{work}/{name}.safetensors') for name in (a, b)]
    files = [load_file(f'{work}/{name}-activations.safetensors') for name in (a, b)]
    merges, unmerges = [], []
    for group in ('fc1', 'fc2'):
        parts = [file[f'{group}@fc{int(group[2]) + 1}.in'] for file in files]
        features = torch.cat(parts, 1)
        total = features.shape[1]
        merge, unmerge = match_tensors_zipit({'covariance': torch.cov(features.T)}, r=1 - width / total, a=0.3, b=100)
        sizes = [part.shape[1] for part in parts]
        merges.append(merge.split(sizes, 1))
        unmerges.append(unmerge.split(sizes, 0))
    out = {}
    for layer in (1, 2, 3):
        for part in ('weight', 'bias'):
            total = 0
            for model, state in enumerate(states):
                value = state[f'fc{layer}.{part}']
                if part == 'weight' and layer > 1:
                    value = value @ unmerges[layer - 2][model]
                total = total + (merges[layer - 1][model] @ value if layer < 3 else value / 2)
            out[f'fc{layer}.{part}'] = total
    return out


WAYS = {
    'weights, zipit': ('method: zipit', False),
    'weights, pleas': ('method: pleas', False),
    'data, zipit, copy': ('method: zipit, unmerge: copy', True),
    'data, pleas, copy': ('method: pleas, unmerge: copy', True),
    'data, zipit': ('method: zipit', True),
    'data, pleas': ('method: pleas', True),
}


def row(title, pairs, make, width, score=accuracy):
    table = {}

    def put(way, value):
        table.setdefault(way, []).append(value)

    for a, b in pairs:
        for way, (keys, statistics) in WAYS.items():
            put(way, score(make(), zipped(a, b, f'{keys}, width: {width}', statistics)))
    return title, table, put


def show(title, table):
    print(title)
    for way, values in table.items():
        print(f'  {way:28} {sum(values) / len(values):.3f}   least {min(values):.3f}', flush=True)


if __name__ == '__main__':
    for width in (64, 32):
        print(f'mlp{width}x2', [f'{accuracy(trained(f"mlp{width}", lambda: MLP(width, 2), s)):.3f}' for s in range(SEEDS)])
    apart = [(f'mlp64-{s}', f'mlp32-{s}') for s in range(SEEDS)]
    same = [('mlp64-0', 'mlp64-1'), ('mlp64-2', 'mlp64-3'), ('mlp64-0', 'mlp64-2'), ('mlp64-1', 'mlp64-3')]
    for title, pairs, width, size in [
        ('64x2 and 32x2 into 64', apart, 'larger', 64),
        ('64x2 and 64x2 into 64', same, 'larger', 64),
        ('64x2 and 64x2 into 77', same, '120%', 77),
        ('64x2 and 64x2 into 96', same, '150%', 96),
        ('64x2 and 64x2 into 128', same, 'sum', 128),
    ]:
        title, table, put = row(title, pairs, lambda: MLP(size, 2), width)
        for a, b in pairs:
            if size == 64:
                put('naive', accuracy(MLP(64, 2), averaged(a, b)))
            if more and size == 64:
                put('reference zipit, copy', accuracy(MLP(size, 2), reference(a, b, size)))
        show(title, table)
    for width in (16, 8):
        print(f'vgg{width}', [f'{accuracy(trained(f"vgg{width}", lambda: vgg(width), s)):.3f}' for s in range(2)])
    for title, pairs, width, size in [
        ('vgg16 and vgg8 into 16', [(f'vgg16-{s}', f'vgg8-{s}') for s in range(2)], 'larger', 16),
        ('vgg16 and vgg16 into 16', [('vgg16-0', 'vgg16-1')], 'larger', 16),
    ]:
        title, table, put = row(title, pairs, lambda: vgg(size), width, measured)
        for a, b in pairs:
            put('naive', measured(vgg(size), averaged(a, b)))
        show(title + ' (BatchNorm measured)', table)
