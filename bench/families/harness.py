"""Networks for the table of families: how one is described, made, saved, and compared before and after an alignment."""

import copy
import json
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import torch
from safetensors.torch import load_file, save_model
from torch import nn


@dataclass(frozen=True)
class Network:
    """A network that terge aligns: `make` returns the module and its example inputs."""

    name: str
    # What it is an instance of: an architecture that is moved, or a trap that must be left alone.
    kind: str
    make: Callable[[], tuple[nn.Module, Any]]
    # `spec` of the recipe; "auto" by default.
    spec: Any = "auto"
    # config.json beside the weights.
    config: Optional[dict] = None
    # Names of tensors that no alignment can move, as regular expressions. They do not count in the share.
    stays: Sequence[str] = ()
    # The least share of elements that must move, where that is known.
    least: Optional[float] = None
    # The largest difference that the order of summation explains. More than for float64 where a module computes in float32.
    allowed: float = 1e-9
    # The spec is an ONNX file that this exporter of PyTorch writes: "torchscript" or "dynamo".
    exporter: Optional[str] = None
    # `symmetry` of the recipe. Rotations are computed in float32.
    symmetry: str = "permutation"


NETWORKS: dict[str, Network] = {}


class Skip(Exception):
    """A package that the network needs is missing."""


def network(kind: str, name: Optional[str] = None, **more):
    """Registers a function that returns (module, inputs). The network has the function's name."""

    def register(make):
        own = name or make.__name__.replace("_", "-")
        if own in NETWORKS:
            raise ValueError(f"two networks are named {own}")
        NETWORKS[own] = Network(own, kind, make, **more)
        return make

    return register


def randomise(model: nn.Module, seed: int) -> None:
    """Weights as if trained: biases are not zero, norms are not one, running statistics are not those of a new module."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda like: torch.randn(like.shape, generator=generator, dtype=torch.float64)
    uniform = lambda like: torch.rand(like.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                fan = max(1, parameter[0].numel())
                embedding = re.search(r"emb|wte|wpe|token|pos", name) is not None
                parameter.copy_(normal(parameter) * (0.5 if embedding else 1 / math.sqrt(fan)))
            elif name.endswith("weight") or "gamma" in name or "scale" in name:
                parameter.copy_(0.6 + 0.8 * uniform(parameter))
            else:
                parameter.copy_(0.4 * normal(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * normal(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + uniform(buffer))


def build(entry: Network, seed: int) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    module, inputs = entry.make()
    module = module.double().eval()
    randomise(module, seed)
    torch.manual_seed(1000)
    return module, as_double(inputs() if callable(inputs) else inputs)


def as_double(inputs):
    if isinstance(inputs, dict):
        return {name: as_double(value) for name, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(as_double(value) for value in inputs)
    return inputs.double() if torch.is_tensor(inputs) and inputs.is_floating_point() else inputs


def as_float(inputs: dict) -> dict:
    return {name: value.float() if value.is_floating_point() else value for name, value in inputs.items()}


def forward(module: nn.Module, inputs) -> list[torch.Tensor]:
    with torch.no_grad():
        made = module(**inputs) if isinstance(inputs, dict) else module(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    return list(tensors_in(made))


def tensors_in(made):
    if torch.is_tensor(made):
        if made.is_floating_point():
            yield made
    elif isinstance(made, dict):
        # Of a model with a head: what it is for. Its other outputs are steps on the way.
        heads = [made[name] for name in ("logits", "prediction_logits", "text_embeds", "image_embeds") if name in made]
        for value in heads or made.values():
            yield from tensors_in(value)
    elif isinstance(made, (tuple, list)):
        for value in made:
            yield from tensors_in(value)


def largest_difference(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> float:
    """The largest difference relative to the largest output of its tensor; infinite where an output is not a number."""
    worst = 0.0
    for one, other in zip(before, after, strict=True):
        if one.numel() == 0:
            continue
        if not torch.isfinite(one).all():
            raise ValueError("the network's own outputs are not finite")
        difference = (one - other).abs().max().item()
        worst = max(worst, difference / max(one.abs().max().item(), 1e-30))
        if math.isnan(difference):
            return math.inf
    return worst


def save(entry: Network, module: nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True)
    save_model(module, str(folder / "model.safetensors"))
    if entry.config is not None:
        (folder / "config.json").write_text(json.dumps(entry.config))


def load(module: nn.Module, folder: Path) -> None:
    # Into the tensors themselves, because some modules have loaders of their own. Names of one tensor are stored once.
    tensors = load_file(str(folder / "model.safetensors"))
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name in tensors:
                value.copy_(tensors[name])


def movable(entry: Network, folder: Path) -> dict[str, int]:
    """Elements of each stored tensor that an alignment could move, as far as the entry tells."""
    stays = lambda name: any(re.search(pattern, name) for pattern in entry.stays)
    tensors = load_file(str(folder / "model.safetensors")).items()
    return {
        name: value.numel()
        for name, value in tensors
        if value.is_floating_point() and value.numel() > 1 and not stays(name)
    }


def export(entry: Network, module: nn.Module, inputs, file: Path) -> None:
    """Writes the module as ONNX. Models of transformers give only their first output."""
    arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else inputs
    plain = First(module) if isinstance(arguments, dict) else module
    if isinstance(arguments, dict):
        # The older exporter has no attention in float64. The graph is the same.
        plain, arguments = First(copy.deepcopy(module).float()), as_float(arguments)
        plain.names, arguments = list(arguments), tuple(arguments.values())
    elif not isinstance(arguments, tuple):
        arguments = (arguments,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(inputs, dict):
            # As users of language models export them: the numbers of examples and of tokens are free.
            free = {0: "batch", 1: "length"}
            sizes = [free if value.dim() == 2 else {0: "batch"} for value in arguments]
            if entry.exporter == "torchscript":
                axes = {"input_names": list(inputs), "dynamic_axes": dict(zip(inputs, sizes))}
                torch.onnx.export(plain, arguments, str(file), dynamo=False, **axes)
            else:
                torch.onnx.export(plain, arguments, str(file), dynamo=True, external_data=False, verbose=False, dynamic_shapes=(tuple(sizes),))
        elif entry.exporter == "torchscript":
            torch.onnx.export(plain, arguments, str(file), dynamo=False)
        else:
            torch.onnx.export(plain, arguments, str(file), dynamo=True, external_data=False, verbose=False)


class First(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.names: list[str] = []

    def forward(self, *values):
        return self.model(**dict(zip(self.names, values)), return_dict=False)[0]
