"""Transformers: of the transformers library, and in the style of GPT-2 by hand."""

import torch
import transformers
from torch import nn
from torch.nn import functional as F

from harness import network

TOKENS = lambda: torch.randint(0, 50, (2, 7))




def small(kind, config, model, least=0.95, allowed=1e-9):
    settings = {**config.to_dict(), "architectures": [model.__name__]}

    @network("transformer", kind, config=settings, least=least, allowed=allowed)
    def make():
        return model(config), {"input_ids": TOKENS()}

    @network("transformer", f"{kind}-without-config", allowed=allowed)
    def bare():
        return model(config), {"input_ids": TOKENS()}


COMMON = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
# RMSNorm computes in float32.
ROOT = 1e-5
small("llama-base", transformers.LlamaConfig(**COMMON, num_key_value_heads=2), transformers.LlamaModel, least=0.5, allowed=ROOT)
small("llama", transformers.LlamaConfig(**COMMON, num_key_value_heads=2), transformers.LlamaForCausalLM, allowed=ROOT)
small("qwen2", transformers.Qwen2Config(**COMMON, num_key_value_heads=2), transformers.Qwen2ForCausalLM, allowed=ROOT)
small("bert", transformers.BertConfig(**COMMON, max_position_embeddings=16), transformers.BertModel, least=0.5)
small("bert-masked", transformers.BertConfig(**COMMON, max_position_embeddings=16), transformers.BertForMaskedLM, least=0.9)
small("gpt2-base", transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=16), transformers.GPT2Model, least=0.5)
small("opt", transformers.OPTConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, ffn_dim=32, word_embed_proj_dim=16), transformers.OPTForCausalLM)
small("gpt2", transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=16), transformers.GPT2LMHeadModel)


@network("transformer", config={"model_type": "t5", "num_heads": 4, "d_kv": 4, "d_model": 16}, least=0.9, allowed=ROOT)
def t5():
    config = transformers.T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    return transformers.T5ForConditionalGeneration(config), {"input_ids": TOKENS(), "decoder_input_ids": TOKENS()}


class Attention(nn.Module):
    def __init__(self, bias, rotary=False):
        super().__init__()
        self.c_attn, self.c_proj, self.rotary = nn.Linear(16, 48, bias=bias), nn.Linear(16, 16, bias=bias), rotary

    def forward(self, x):
        q, k, v = (t.view(*t.shape[:2], 4, 4).transpose(1, 2) for t in self.c_attn(x).split(16, 2))
        if self.rotary:
            angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.3], dtype=x.dtype)
            turn = lambda t: torch.cat([t[..., :2] * angle.cos() - t[..., 2:] * angle.sin(), t[..., :2] * angle.sin() + t[..., 2:] * angle.cos()], -1)
            q, k = turn(q), turn(k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, bias, wide):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(16, wide, bias=bias), nn.Linear(wide, 16, bias=bias)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, bias, wide, rotary):
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = nn.LayerNorm(16, bias=bias), Attention(bias, rotary), nn.LayerNorm(16, bias=bias), Mlp(bias, wide)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGpt(nn.Module):
    def __init__(self, bias, wide=64, rotary=False, tied=True):
        super().__init__()
        parts = dict(wte=nn.Embedding(50, 16), h=nn.ModuleList(Block(bias, wide, rotary) for _ in range(2)), ln_f=nn.LayerNorm(16, bias=bias))
        if not rotary:
            parts["wpe"] = nn.Embedding(16, 16)
        self.transformer, self.lm_head = nn.ModuleDict(parts), nn.Linear(16, 50, bias=False)
        if tied:
            self.lm_head.weight = self.transformer.wte.weight

    def forward(self, ids):
        t = self.transformer
        x = t.wte(ids)
        if "wpe" in t:
            x = x + t.wpe(torch.arange(ids.shape[1]))
        for block in t.h:
            x = block(x)
        return self.lm_head(t.ln_f(x))


for name, make in {
    "nanogpt": lambda: NanoGpt(True),
    "nanogpt-without-biases": lambda: NanoGpt(False),
    "nanogpt-square": lambda: NanoGpt(False, wide=16),
    "nanogpt-wide-as-queries": lambda: NanoGpt(False, wide=48),
    "nanogpt-rotary": lambda: NanoGpt(False, rotary=True),
    "nanogpt-untied": lambda: NanoGpt(True, tied=False),
}.items():
    network("transformer by hand", name)(lambda make=make: (make(), TOKENS()))
    network("transformer by hand", f"{name}-with-heads", config={"n_head": 4})(lambda make=make: (make(), TOKENS()))


@network("transformer by hand")
def torch_encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), lambda: torch.randn(2, 5, 16)
