"""Transformers whose spec is an ONNX export."""

import torch
import transformers as t

from harness import network
from networks.language_models import TOKENS

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 16, "intermediate_size": 32}
WORDS = {**SIZES, "vocab_size": 50}
PICTURES = {**SIZES, "image_size": 16, "patch_size": 8}
MASK = torch.ones(2, 7, dtype=torch.long)
ids = lambda: {"input_ids": TOKENS(), "attention_mask": MASK}
ENDS = [r"classifier\.bias$|predictions\.(decoder\.)?bias$"]
for name, config, kind, inputs in (
    ("llama", t.LlamaConfig(**WORDS, num_key_value_heads=2), t.LlamaForCausalLM, ids),
    ("gpt2", t.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=16), t.GPT2LMHeadModel, ids),
    ("bert", t.BertConfig(**WORDS, max_position_embeddings=16), t.BertForMaskedLM, lambda: {**ids(), "token_type_ids": torch.zeros(2, 7, dtype=torch.long)}),
    ("vit", t.ViTConfig(**PICTURES), t.ViTForImageClassification, lambda: {"pixel_values": torch.randn(2, 3, 16, 16)}),
    ("t5", t.T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, use_cache=False), t.T5ForConditionalGeneration, lambda: {"input_ids": TOKENS(), "attention_mask": MASK, "decoder_input_ids": TOKENS()}),
):
    config.use_cache = False
    # The newer exporter of PyTorch 2.13 fails on T5 with free lengths.
    for exporter in ("torchscript",) if name == "t5" else ("torchscript", "dynamo"):
        # With a free number of pictures, it cuts axes by sizes that the graph does not say.
        least = None if (name, exporter) == ("vit", "dynamo") else 0.95
        network("exported transformers", f"{name}-onnx-{exporter}", exporter=exporter, least=least, stays=ENDS, allowed=2e-5)(
            lambda config=config, kind=kind, inputs=inputs: (kind(config), inputs())
        )
