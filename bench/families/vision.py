"""torchvision, where it is installed. Where its operators are built for another torch, its networks run without them."""

import torch

from harness import Skip

_real = torch.library.register_fake


def _without_operators(op, *words, **more):
    if isinstance(op, str) and op.startswith("torchvision::"):
        return lambda function: function
    return _real(op, *words, **more)


torch.library.register_fake = _without_operators
try:
    import torchvision
except ImportError as missing:
    raise Skip(str(missing)) from missing
finally:
    torch.library.register_fake = _real
