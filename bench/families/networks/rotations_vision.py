"""Vision transformers of timm and torchvision, aligned with `symmetry: orthogonal`."""

import torch

from harness import Skip
from networks.rotations import turned
from vision import torchvision

try:
    import timm
except ImportError as missing:
    raise Skip(str(missing)) from missing

SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 4, "num_classes": 7}
PICTURES = lambda: torch.randn(2, 3, 16, 16)


def of_timm(name, heads=4, **more):
    make = lambda: (timm.models.VisionTransformer(**{**SMALL, **more}), PICTURES)
    turned(f"timm-{name}", make, {"architecture": "vit", "num_heads": heads} if heads else None)


of_timm("vit")
of_timm("vit-without-config", heads=None)
of_timm("vit-layer-scale", init_values=0.1)
of_timm("vit-mean-of-places", global_pool="avg")
of_timm("vit-norm-before", pre_norm=True)
of_timm("vit-without-qkv-biases", qkv_bias=False)
of_timm("vit-registers", reg_tokens=2, class_token=True)
turned(
    "torchvision-vit",
    lambda: (torchvision.models.VisionTransformer(16, 4, 2, 4, 16, 32, num_classes=7), PICTURES),
    None,
)
