"""Writes src/rebasin/infer/named/digests.ts: digests of the names and shapes of torchvision's networks.

The text that is hashed must be the one of src/rebasin/infer/named/index.ts. Needs torchvision."""

import hashlib
import re
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from vision import torchvision  # noqa: E402

TARGET = HERE / "../../src/rebasin/infer/named/digests.ts"
# Names of torchvision, the first layer, the last layer, and the names of all tensors between.
LAYOUTS = [
    (r"(wide_)?resne[x]?t\d", "conv1", "fc", r"(conv1|bn1|layer[1-4])\."),
    (r"vgg\d|alexnet", "features.0", "classifier.6", r"(features|classifier)\.(?!6\.(weight|bias)$)|features\.6\."),
    (r"mobilenet_v2|efficientnet", "features.0.0", "classifier.1", r"features\."),
    (r"mobilenet_v3", "features.0.0", "classifier.3", r"(features|classifier\.0)\."),
    (r"mnasnet", "layers.0", "classifier.1", r"layers\."),
]


def digest_of(tensors, stem: str, body: str) -> str:
    lines = []
    for name, tensor in tensors:
        if not re.match(body, name) or name.endswith("num_batches_tracked"):
            continue
        shape = list(tensor.shape)
        if name == f"{stem}.weight":
            shape[1:] = ["*"] * (len(shape) - 1)
        lines.append(f"{name} {'x'.join(map(str, shape))}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


found = {}
with torch.device("meta"):
    for name in torchvision.models.list_models(module=torchvision.models):
        for pattern, stem, head, body in LAYOUTS:
            if not re.match(pattern, name):
                continue
            tensors = list(torchvision.models.get_model(name, weights=None).state_dict().items())
            assert all(re.match(body, key) or key.startswith(f"{head}.") for key, _ in tensors), name
            found[digest_of(tensors, stem, body)] = name
            if re.match(r"resnet\d", name):
                # The form for small pictures of github.com/kuangliu/pytorch-cifar.
                renamed = [(key.replace("downsample", "shortcut"), tensor) for key, tensor in tensors]
                found.setdefault(digest_of(renamed, stem, body), f"{name}-cifar")
rows = "".join(f"  ['{digest}', '{name}'],\n" for digest, name in found.items())
TARGET.write_text(
    "/** Made by bench/families/signatures.py: digests of names and shapes, by architecture. */\n"
    f"export const DIGESTS: ReadonlyMap<string, string> = new Map([\n{rows}])\n"
)
print(f"{len(found)} networks")
