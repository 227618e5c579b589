"""The perplexity of a language model on texts, with transformers: python perplexity.py MODEL TEXT..."""

import json
import math
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, *files = sys.argv[1:]
device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to(device).eval()
window = min(model.config.max_position_embeddings, 2048) // 2 * 2

loss, count = 0.0, 0
for file in files:
    with open(file, encoding="utf-8") as text:
        tokens = tokenizer(text.read(), return_tensors="pt").input_ids.to(device)
    # Windows overlap by half. Each token is counted once, with half a window before it at least, except in the first window.
    for start in range(0, max(1, tokens.shape[1] - window // 2), window // 2):
        part = tokens[:, start : start + window]
        with torch.inference_mode():
            logs = model(part).logits[0, :-1].double().log_softmax(-1)
        logs = logs.gather(-1, part[0, 1:, None])[(window // 2 - 1 if start > 0 else 0) :]
        loss, count = loss - logs.sum().item(), count + logs.numel()

print(json.dumps({"loss": loss / count, "perplexity": math.exp(loss / count)}))
