"""Plain weight matching of two multilayer perceptrons with numpy and scipy: what bench/matching.mjs sets terge beside.

    python3 matching.py mlp A B [--dtype float64] [--seed 0]    matches B onto A; prints seconds, sweeps, similarity
    python3 matching.py assign N [--seed 0]                     scipy's assignment on random costs; prints seconds

Models are safetensors files of F32 or BF16 tensors: fully connected layers, in the order of their names' numbers. Coordinate
descent as in Git Re-Basin (arXiv 2209.04836): all hidden layers in a random order, a whole similarity matrix and an assignment
from nothing each, until a sweep gains nothing.
"""
import argparse
import json
import re
import struct
import time

import numpy as np
from scipy.optimize import linear_sum_assignment


def load(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        raw = data[slice(*entry["data_offsets"])]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F32":
            values = np.frombuffer(raw, "<f4")
        else:
            raise SystemExit(f"{path}: {name} is {entry['dtype']}; this script reads F32 and BF16")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def layers(tensors, dtype):
    """Weights and biases in the order of layers."""
    numbers = lambda name: [int(part) for part in re.findall(r"\d+", name)]
    names = sorted((name for name, value in tensors.items() if value.ndim == 2), key=numbers)
    bias = lambda name: tensors.get(re.sub("weight$", "bias", name))
    return [(tensors[name].astype(dtype), None if bias(name) is None else bias(name).astype(dtype)) for name in names]


def match(a, b, seed):
    """Permutations of b's hidden layers, and the number of sweeps."""
    hidden = len(a) - 1
    perms = [np.arange(weight.shape[0]) for weight, _ in a[:hidden]]
    random = np.random.default_rng(seed)
    sweeps, moved = 0, True
    while moved:
        moved = False
        sweeps += 1
        for k in random.permutation(hidden):
            (wa, ba), (wb, bb) = a[k], b[k]
            scores = wa @ (wb if k == 0 else wb[:, perms[k - 1]]).T
            if ba is not None:
                scores += np.outer(ba, bb)
            after = b[k + 1][0] if k + 1 == hidden else b[k + 1][0][perms[k + 1]]
            scores += a[k + 1][0].T @ after
            _, columns = linear_sum_assignment(scores, maximize=True)
            rows = np.arange(len(columns))
            if scores[rows, columns].sum() > scores[rows, perms[k]].sum() + 1e-12:
                moved = True
                perms[k] = columns
    return perms, sweeps


def similarity(a, b, perms):
    """Σ ⟨a, b permuted⟩ over all tensors, divided by both norms, in float64."""
    dot = square_a = square_b = 0.0
    for k, ((wa, ba), (wb, bb)) in enumerate(zip(a, b)):
        out = perms[k] if k < len(perms) else slice(None)
        wb = wb[out] if k == 0 else wb[out][:, perms[k - 1]]
        pairs = [(wa, wb)] + ([] if ba is None else [(ba, bb[out])])
        for x, y in pairs:
            x, y = x.astype(np.float64), y.astype(np.float64)
            dot += (x * y).sum()
            square_a += (x * x).sum()
            square_b += (y * y).sum()
    return dot / np.sqrt(square_a * square_b)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    mlp = commands.add_parser("mlp")
    mlp.add_argument("a")
    mlp.add_argument("b")
    mlp.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    mlp.add_argument("--seed", type=int, default=0)
    assign = commands.add_parser("assign")
    assign.add_argument("n", type=int)
    assign.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.command == "assign":
        costs = np.random.default_rng(arguments.seed).random((arguments.n, arguments.n))
        start = time.perf_counter()
        linear_sum_assignment(costs, maximize=True)
        print(json.dumps({"seconds": time.perf_counter() - start}))
        return
    a = layers(load(arguments.a), arguments.dtype)
    b = layers(load(arguments.b), arguments.dtype)
    start = time.perf_counter()
    perms, sweeps = match(a, b, arguments.seed)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "sweeps": sweeps, "similarity": similarity(a, b, perms)}))


main()
