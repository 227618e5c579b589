"""python measure.py DIGITS FOLDER [NETWORK ...]: midpoint accuracies of the networks that train.py wrote to FOLDER.

Each row is the mean over the three pairs of seeds, on the test digits. `m`: with BatchNorm statistics that are measured in the
average on the training digits, through `repair: {batch_norm: {statistics: FILE}}`. Activations are of 512 training digits. Needs
a built terge (npm run build), torch, transformers and safetensors.
"""
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import torch
from networks import NETWORKS, digits, logits
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
data, folder, *names = sys.argv[1:]
folder = Path(folder)
work = folder / 'work'
work.mkdir(exist_ok=True)
x, y, test, labels = digits(data)

# The documented scripts themselves: their functions, without the examples at their ends.
blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/statistics.md').read_text(), re.S)
for block in blocks:
    if 'def activations' in block:
        exec(block.split("if __name__ ==")[0])
    if 'def batch_norm_statistics' in block:
        exec(block.split('\n\nnet.')[0])


def terge(*words):
    made = subprocess.run(['node', str(ROOT / 'bin/run.js'), *map(str, words)], capture_output=True, text=True)
    if made.returncode:
        sys.exit(made.stderr)
    return made.stdout


def load(name, file):
    net = NETWORKS[name]()
    net.load_state_dict(load_file(file))
    return net.eval()


def accuracy(name, file):
    with torch.no_grad():
        return (logits(load(name, file), test).argmax(1) == labels).float().mean().item()


def average(name, pair, rebasin, repair=None):
    """Writes the midpoint of two seeds, and gives its file."""
    a, b = (str(folder / f'{name}-{seed}.safetensors') for seed in pair)
    recipe = {'terge': 1, 'models': {'a': a, 'b': b}, 'merge': {'method': 'linear'}, 'output': str(work / 'out.safetensors')}
    if rebasin is not None:
        recipe['rebasin'] = {'model': 'b', 'onto': 'a', **({'spec': 'chain'} if name[:3] in ('mlp', 'vgg') else {'spec': 'resnet'}), **rebasin}
        if rebasin.get('method') in ('activation-matching', 'mixed'):
            files = [str(work / f'{name}-{seed}-activations.safetensors') for seed in pair]
            recipe['rebasin']['statistics'] = dict(zip('ab', files))
    if repair:
        recipe['repair'] = {'batch_norm': repair}
    (work / 'recipe.yml').write_text(json.dumps(recipe))
    terge('run', work / 'recipe.yml', '--force', '--threads', 1)
    return recipe['output']


for name in names or [name for name in NETWORKS if name != 'vit48']:
    spec_flag = json.loads(terge('inspect', folder / f'{name}-0.safetensors', '--spec', '--json'))
    for seed in range(3):
        net = load(name, folder / f'{name}-{seed}.safetensors')
        save_file(activations(net, spec_flag, x[:512].split(128)), work / f'{name}-{seed}-activations.safetensors')
    norms = any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    pairs = list(itertools.combinations(range(3), 2))
    for label, rebasin in {
        'naive': None,
        'weight-matching': {},
        'activation-matching': {'method': 'activation-matching'},
        'mixed': {'method': 'mixed'},
    }.items():
        row = {'plain': [], 'repaired': [], 'm': []}
        for pair in pairs:
            file = average(name, pair, rebasin)
            row['plain'].append(accuracy(name, file))
            if not norms:
                continue
            measured = str(work / 'measured.safetensors')
            save_file(batch_norm_statistics(load(name, file), x.split(256)), measured)
            row['m'].append(accuracy(name, average(name, pair, rebasin, {'statistics': measured})))
            row['repaired'].append(accuracy(name, average(name, pair, rebasin, 'correlation')))
        print(name, label, *(f'{key} {sum(all) / len(all):.3f}' for key, all in row.items() if all), flush=True)
