"""Measures models of the layout of test/fixtures/lm, one after another: a path per line comes in, a JSON object per line goes out.

    python evaluate.py PASSAGES.json

PASSAGES.json has, by name of a kind of text, passages of the same length as lists of tokens.
"""

import json
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

with open(sys.argv[1], encoding="utf-8") as file:
    passages = {kind: torch.tensor(tokens) for kind, tokens in json.load(file).items()}
model = None

for line in sys.stdin:
    folder = line.rstrip("\n")
    if model is None:
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32).eval()
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(f"{folder}/model.safetensors").items()})
    found = {}
    for kind, tokens in passages.items():
        with torch.inference_mode():
            logits = model(tokens[:, :-1], use_cache=False).logits.double()
        wanted = tokens[:, 1:, None]
        found[f"loss_{kind}"] = -logits.log_softmax(-1).gather(-1, wanted).mean().item()
        found[f"accuracy_{kind}"] = (logits.argmax(-1, keepdim=True) == wanted).double().mean().item()
    print(json.dumps(found), flush=True)
