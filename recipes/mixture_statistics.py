# Hidden states of the prompts of a mixture: python mixture_statistics.py RECIPE.yml OUT.safetensors [BASE]
# RECIPE.yml: a terge recipe with a moe step, or a mergekit-moe configuration. BASE: the folder of the base, if it is not there.
import os, sys, torch, yaml
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

config = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
moe = next((step["moe"] for step in config.get("steps", {}).values() if "moe" in step), config)
base = sys.argv[3] if len(sys.argv) > 3 else config.get("models", {}).get(moe.get("base"), moe.get("base_model"))
base = base.get("path", base.get("hub")) if isinstance(base, dict) else base.removeprefix("hf:")
near = os.path.join(os.path.dirname(sys.argv[1]), base)
base = near if os.path.isdir(near) else base
average = moe.get("gate_mode") == "hidden_avg"  # over all positions of a prompt, else the last one
shared = moe.get("shared_experts") or [moe[key] for key in ["shared_expert"] if moe.get(key)]
tokenizer = AutoTokenizer.from_pretrained(base)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()

@torch.no_grad()
def mean(prompts):  # one prompt at a time needs no padding; hidden_states[l] is the input of layer l
    texts = [(tokenizer.bos_token or "") + prompt for prompt in prompts]
    ids = [tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids for text in texts]
    states = [model(one, output_hidden_states=True).hidden_states[:-1] for one in ids]
    picked = [torch.stack([layer[0].mean(0) if average else layer[0, -1] for layer in one]) for one in states]
    return torch.stack(picked).mean(0).contiguous()

found = {f"expert.{index}.{name}": mean(prompts)
         for index, expert in enumerate(moe["experts"] + shared)
         for name, keys in [("positive", ["prompts", "positive_prompts"]), ("negative", ["negative", "negative_prompts"])]
         for prompts in [next((expert[key] for key in keys if expert.get(key)), None)] if prompts}
save_file(found, sys.argv[2])
