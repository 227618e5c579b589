"""Transformers aligned with `symmetry: orthogonal`: how norms, heads, positions and ends allow it."""

import torch
import transformers
from torch import nn

from harness import network
from networks.transformers_nets import TOKENS, NanoGpt

# Rotations are computed in float32.
ROUNDING = 1e-5


def turned(name, make, config, **more):
    more = {"allowed": ROUNDING, "least": 0.9, **more}
    network("orthogonal", f"turned-{name}", config=config, symmetry="orthogonal", **more)(make)


def language(name, config, model, **more):
    settings = {**config.to_dict(), "architectures": [model.__name__]}
    turned(name, lambda: (model(config), {"input_ids": TOKENS()}), settings, **more)


def pictures(name, config, model, size=8, **more):
    settings = {**config.to_dict(), "architectures": [model.__name__]}
    turned(name, lambda: (model(config), {"pixel_values": torch.randn(2, 3, size, size)}), settings, **more)


COMMON = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
PICTURES = {**{key: COMMON[key] for key in COMMON if key != "vocab_size"}, "image_size": 8, "patch_size": 4}
GPT2 = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 16}
OPT = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 32, "word_embed_proj_dim": 16}
t = transformers

for tied in (True, False):
    word = "tied" if tied else "untied"
    language(f"gpt2-{word}", t.GPT2Config(**GPT2, tie_word_embeddings=tied), t.GPT2LMHeadModel)
    language(f"opt-{word}", t.OPTConfig(**OPT, tie_word_embeddings=tied), t.OPTForCausalLM)
    language(f"opt-post-{word}", t.OPTConfig(**OPT, tie_word_embeddings=tied, do_layer_norm_before=False), t.OPTForCausalLM)
    language(f"llama-{word}", t.LlamaConfig(**COMMON, num_key_value_heads=2, tie_word_embeddings=tied), t.LlamaForCausalLM)
    language(f"starcoder2-{word}", t.Starcoder2Config(**COMMON, num_key_value_heads=2, tie_word_embeddings=tied), t.Starcoder2ForCausalLM)
    language(f"gpt-neo-{word}", t.GPTNeoConfig(vocab_size=50, hidden_size=16, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], intermediate_size=32, max_position_embeddings=16, tie_word_embeddings=tied), t.GPTNeoForCausalLM)
language("gptj", t.GPTJConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2, rotary_dim=4, n_positions=16), t.GPTJForCausalLM)
language("distilbert-masked", t.DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=4, hidden_dim=32, max_position_embeddings=16), t.DistilBertForMaskedLM)
language("distilbert-classifier", t.DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=4, hidden_dim=32, max_position_embeddings=16), t.DistilBertForSequenceClassification)
language("distilbert-tokens", t.DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=4, hidden_dim=32, max_position_embeddings=16), t.DistilBertForTokenClassification)
language("distilbert-base", t.DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=4, hidden_dim=32, max_position_embeddings=16), t.DistilBertModel, least=0.5)
language("gpt2-base", t.GPT2Config(**GPT2), t.GPT2Model)
language("llama-base", t.LlamaConfig(**COMMON, num_key_value_heads=2), t.LlamaModel)
language("phi", t.PhiConfig(**{**COMMON, "hidden_size": 32}, num_key_value_heads=2), t.PhiForCausalLM)
language("stablelm", t.StableLmConfig(**{**COMMON, "hidden_size": 32, "num_attention_heads": 2}, num_key_value_heads=2, use_qkv_bias=True), t.StableLmForCausalLM)
language("stablelm-parallel", t.StableLmConfig(**{**COMMON, "hidden_size": 32, "num_attention_heads": 2}, num_key_value_heads=1, use_parallel_residual=True), t.StableLmForCausalLM)
language("cohere-untied", t.CohereConfig(**COMMON, num_key_value_heads=2, tie_word_embeddings=False), t.CohereForCausalLM)
language("olmo", t.OlmoConfig(**COMMON, tie_word_embeddings=False), t.OlmoForCausalLM)
language("olmo-clipped", t.OlmoConfig(**COMMON, tie_word_embeddings=False, clip_qkv=0.5), t.OlmoForCausalLM, least=0)
language("gemma", t.GemmaConfig(**COMMON, num_key_value_heads=2, head_dim=4), t.GemmaForCausalLM, least=0)
language("nemotron", t.NemotronConfig(**COMMON, num_key_value_heads=2), t.NemotronForCausalLM, least=0)
language("bert", t.BertConfig(**COMMON, max_position_embeddings=16), t.BertModel, least=0.5)
language("bert-masked", t.BertConfig(**COMMON, max_position_embeddings=16), t.BertForMaskedLM)
language("bert-classifier", t.BertConfig(**COMMON, max_position_embeddings=16), t.BertForSequenceClassification)
language("bert-tokens", t.BertConfig(**COMMON, max_position_embeddings=16), t.BertForTokenClassification)
language("roberta-classifier", t.RobertaConfig(**COMMON, max_position_embeddings=16), t.RobertaForSequenceClassification)
language("roberta-masked", t.RobertaConfig(**COMMON, max_position_embeddings=16), t.RobertaForMaskedLM)
language("llama-classifier", t.LlamaConfig(**COMMON, num_key_value_heads=2, pad_token_id=0), t.LlamaForSequenceClassification)
pictures("vit", t.ViTConfig(**PICTURES), t.ViTForImageClassification)
pictures("vit-without-biases", t.ViTConfig(**PICTURES, qkv_bias=False), t.ViTForImageClassification)
pictures("vit-base", t.ViTConfig(**PICTURES), t.ViTModel, least=0.5)
pictures("deit", t.DeiTConfig(**PICTURES), t.DeiTForImageClassification)
pictures("dinov2", t.Dinov2Config(**PICTURES), t.Dinov2ForImageClassification, least=0)
pictures("dinov2-base", t.Dinov2Config(**PICTURES), t.Dinov2Model, least=0.3)

for name, make in {
    "nanogpt": lambda: NanoGpt(True),
    "nanogpt-without-biases": lambda: NanoGpt(False),
    "nanogpt-untied": lambda: NanoGpt(True, tied=False),
    "nanogpt-rotary": lambda: NanoGpt(False, rotary=True, tied=False),
}.items():
    settings = {"n_head": 4, **({"tie_word_embeddings": False} if "untied" in name or "rotary" in name else {})}
    turned(name, lambda make=make: (make(), TOKENS()), settings)
    turned(f"{name}-without-heads", lambda make=make: (make(), TOKENS()), {key: settings[key] for key in settings if key != "n_head"})


class Block(nn.Module):
    """Names of torchvision's VisionTransformer."""

    def __init__(self, width, norm):
        super().__init__()
        self.ln_1, self.self_attention, self.ln_2 = norm(width), nn.MultiheadAttention(width, 4, batch_first=True), norm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Identity(), nn.Linear(24, width))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Vision(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv_proj, self.class_token = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.zeros(1, 1, width))
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, 5, width))
        self.encoder.layers = nn.ModuleDict({f"encoder_layer_{i}": Block(width, nn.LayerNorm) for i in range(2)})
        self.encoder.ln, self.heads = nn.LayerNorm(width), nn.Module()
        self.heads.head = nn.Linear(width, 7)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.encoder.pos_embedding
        for layer in self.encoder.layers.values():
            x = layer(x)
        return self.heads.head(self.encoder.ln(x)[:, 0])


turned("torchvision-names", lambda: (Vision(), torch.randn(2, 3, 8, 8)), None)
turned("torchvision-names-with-heads", lambda: (Vision(), torch.randn(2, 3, 8, 8)), {"num_heads": 4})
