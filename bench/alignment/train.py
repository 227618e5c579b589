"""python train.py DIGITS OUT [NETWORK ...]: trains three seeds of each network and writes OUT/NETWORK-SEED.safetensors."""
import os
import sys

import torch
from networks import NETWORKS, digits, logits, train
from safetensors.torch import save_file

torch.set_num_threads(1)
data, out, *names = sys.argv[1:]
os.makedirs(out, exist_ok=True)
x, y, tx, ty = digits(data)
for name in names or NETWORKS:
    for seed in range(3):
        torch.manual_seed(seed)
        net = NETWORKS[name]()
        train(net, x, y, epochs=60 if name == 'vit48' else 40, rate=2e-3 if name == 'vit48' else 3e-3)
        net.eval()
        with torch.no_grad():
            right = (logits(net, tx).argmax(1) == ty).float().mean().item()
        print(name, seed, f'{right:.3f}', flush=True)
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, f'{out}/{name}-{seed}.safetensors')
        if hasattr(net, 'config'):
            net.config.save_pretrained(out)
