"""Language models of transformers, and hlb-gpt, in their usual and in odd configurations."""

import torch
import transformers
from torch import nn
from torch.nn import functional as F

import vision  # noqa: F401
from harness import network

TOKENS = lambda: torch.randint(1, 50, (2, 7))
# Norms and softmax that compute in float32.
ROOT = 2e-5


def model(name, config, kind, least=0.95, allowed=ROOT, inputs=None, bare=True, **more):
    """With and without config.json."""
    settings = {**config.to_dict(), "architectures": [kind.__name__]}
    # Products of grouped matrices have no float64.
    config._experts_implementation = "eager"
    given = inputs or (lambda: {"input_ids": TOKENS()})
    network("language model", name, config=settings, least=least, allowed=allowed, **more)(lambda: (kind(config), given()))
    if bare:
        network("language model", f"{name}-without-config", allowed=allowed, **more)(lambda: (kind(config), given()))


WIDE = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
SQUARE = {**WIDE, "intermediate_size": 16}
GROUPED = {**WIDE, "num_key_value_heads": 2}
N = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 16}
t = transformers

for tied in (False, True):
    end = "-tied" if tied else ""
    model(f"gptj{end}", t.GPTJConfig(**N, rotary_dim=2, tie_word_embeddings=tied), t.GPTJForCausalLM)
    model(f"gpt-neox{end}", t.GPTNeoXConfig(**WIDE, tie_word_embeddings=tied), t.GPTNeoXForCausalLM)
    model(f"gemma3{end}", t.Gemma3TextConfig(**GROUPED, head_dim=4, sliding_window=3, tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2), t.Gemma3ForCausalLM)
model("gptj-square", t.GPTJConfig(**N, rotary_dim=4, n_inner=16), t.GPTJForCausalLM)
NEO = {"vocab_size": 50, "hidden_size": 16, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 16}
model("gpt-neo", t.GPTNeoConfig(**NEO, attention_types=[[["global", "local"], 1]], window_size=3), t.GPTNeoForCausalLM)
model("gpt-neo-square", t.GPTNeoConfig(**NEO, attention_types=[[["global"], 2]], intermediate_size=16), t.GPTNeoForCausalLM)
model("gpt-neox-serial", t.GPTNeoXConfig(**SQUARE, use_parallel_residual=False, attention_bias=False), t.GPTNeoXForCausalLM)
BLOOM = {"vocab_size": 50, "hidden_size": 16, "n_layer": 2, "n_head": 4}
model("bloom", t.BloomConfig(**BLOOM), t.BloomForCausalLM)
model("bloom-after-norm", t.BloomConfig(**{**BLOOM, "n_head": 3, "hidden_size": 12}, apply_residual_connection_post_layernorm=True), t.BloomForCausalLM)
FALCON = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
for name, more in {
    "multi-query": {"multi_query": True},
    "grouped": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "grouped-one-head": {"new_decoder_architecture": True, "num_kv_heads": 1},
    "heads": {"multi_query": False, "parallel_attn": False},
    "alibi": {"multi_query": False, "alibi": True, "bias": True},
    "alibi-multi-query": {"multi_query": True, "alibi": True},
    "one-norm": {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
}.items():
    model(f"falcon-{name}", t.FalconConfig(**FALCON, **more), t.FalconForCausalLM)
model("mpt", t.MptConfig(vocab_size=50, d_model=16, n_heads=4, n_layers=2, max_seq_len=16), t.MptForCausalLM)
BIG = {**N, "bos_token_id": 1, "eos_token_id": 2}
model("gpt-bigcode", t.GPTBigCodeConfig(**BIG), t.GPTBigCodeForCausalLM)
model("gpt-bigcode-heads", t.GPTBigCodeConfig(**BIG, multi_query=False), t.GPTBigCodeForCausalLM)
for name, config, kind in (
    ("qwen3", t.Qwen3Config(**GROUPED, head_dim=6), t.Qwen3ForCausalLM),
    ("qwen2-multi-query", t.Qwen2Config(**WIDE, num_key_value_heads=1), t.Qwen2ForCausalLM),
    ("gemma", t.GemmaConfig(**GROUPED, head_dim=4), t.GemmaForCausalLM),
    ("gemma2", t.Gemma2Config(**GROUPED, head_dim=4, sliding_window=3), t.Gemma2ForCausalLM),
    ("phi3", t.Phi3Config(**GROUPED, pad_token_id=0), t.Phi3ForCausalLM),
    ("phi", t.PhiConfig(**WIDE, partial_rotary_factor=0.5), t.PhiForCausalLM),
    ("olmo2", t.Olmo2Config(**GROUPED, pad_token_id=0), t.Olmo2ForCausalLM),
    ("mistral-square", t.MistralConfig(**{**SQUARE, "num_key_value_heads": 4}, sliding_window=3), t.MistralForCausalLM),
    ("starcoder2", t.Starcoder2Config(**GROUPED), t.Starcoder2ForCausalLM),
    ("stablelm", t.StableLmConfig(**GROUPED), t.StableLmForCausalLM),
    ("cohere", t.CohereConfig(**GROUPED, pad_token_id=0, bos_token_id=1, eos_token_id=2, use_qk_norm=True), t.CohereForCausalLM),
    ("glm", t.GlmConfig(**GROUPED, head_dim=4, pad_token_id=0, eos_token_id=2), t.GlmForCausalLM),
    ("glm4", t.Glm4Config(**GROUPED, head_dim=4, pad_token_id=0, eos_token_id=2), t.Glm4ForCausalLM),
    ("mixtral", t.MixtralConfig(**GROUPED, num_local_experts=4), t.MixtralForCausalLM),
    ("qwen2-moe", t.Qwen2MoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8, shared_expert_intermediate_size=12), t.Qwen2MoeForCausalLM),
    ("qwen3-moe", t.Qwen3MoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8, decoder_sparse_step=1, head_dim=4), t.Qwen3MoeForCausalLM),
    ("olmoe", t.OlmoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2, pad_token_id=0, eos_token_id=2), t.OlmoeForCausalLM),
    ("gpt-oss", t.GptOssConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2, head_dim=4, sliding_window=3, pad_token_id=0, eos_token_id=2), t.GptOssForCausalLM),
):
    model(name, config, kind)
MLA = {**WIDE, "moe_intermediate_size": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
MLA |= {"kv_lora_rank": 5, "qk_rope_head_dim": 4, "qk_nope_head_dim": 3, "v_head_dim": 6, "num_key_value_heads": 4}
model("deepseek-v3", t.DeepseekV3Config(**MLA, q_lora_rank=6), t.DeepseekV3ForCausalLM)
model("deepseek-v3-one-group", t.DeepseekV3Config(**{**MLA, "n_group": 1}, q_lora_rank=6), t.DeepseekV3ForCausalLM)
model("deepseek-v2-lite", t.DeepseekV2Config(**MLA, q_lora_rank=None), t.DeepseekV2ForCausalLM)
MAMBA = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
model("mamba", t.MambaConfig(**MAMBA, time_step_rank=3), t.MambaForCausalLM)
model("falcon-mamba", t.FalconMambaConfig(**MAMBA, time_step_rank=3), t.FalconMambaForCausalLM)
STATES = {**MAMBA, "num_heads": 8, "head_dim": 4, "expand": 2}
model("mamba2", t.Mamba2Config(**STATES, n_groups=1), t.Mamba2ForCausalLM)
model("mamba2-groups", t.Mamba2Config(**STATES, n_groups=2), t.Mamba2ForCausalLM)
# What these give is the residual stream.
STREAM = [r"embed|^norm|layernorm\.|_norm\.|ln_|\.norm\.|(^|\.)wte|gate\.weight"]
for name, config, kind in (
    ("gptj-base", t.GPTJConfig(**N, rotary_dim=2), t.GPTJModel),
    ("gpt-neox-base", t.GPTNeoXConfig(**WIDE), t.GPTNeoXModel),
    ("qwen3-base", t.Qwen3Config(**GROUPED, head_dim=6), t.Qwen3Model),
    ("mamba-base", t.MambaConfig(**MAMBA, time_step_rank=3), t.MambaModel),
):
    model(name, config, kind, stays=[*STREAM, r"fc_out\.bias|dense_4h_to_h\.bias|attention\.dense\.bias"])


class LatentAttention(nn.Module):
    """hlb-gpt: one matrix for attention of one head and the feed-forward units."""

    def __init__(self, width, places, units):
        super().__init__()
        self.sizes, self.width = (places, places, units, units), width
        self.norm = nn.LayerNorm(width, bias=False)
        self.expand = nn.Parameter(torch.randn(2 * places + 2 * units, width))
        self.project = nn.Parameter(torch.randn(width, units))
        self.position_bias_mult = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        length = torch.arange(x.shape[1])
        distance = length[None] - length[:, None]
        bias = torch.where(distance <= 0, F.softplus(self.position_bias_mult) * distance, -torch.inf)
        query, key, linear, gate = F.linear(self.norm(x), self.expand).split(self.sizes, -1)
        local, value = (linear * F.gelu(gate)).split((self.sizes[2] - self.width, self.width), -1)
        attention = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return x + F.linear(torch.cat([local, attention], -1), self.project)


class SpeedyLangNet(nn.Module):
    def __init__(self, width=16, places=2, units=32):
        super().__init__()
        blocks = nn.ModuleList(LatentAttention(width, places, units) for _ in range(2))
        outputs = nn.Linear(width, 50, bias=False)
        parts = {"embedding": nn.Embedding(50, width), "attn_layers": blocks, "norm": nn.LayerNorm(width, bias=False)}
        self.net_dict = nn.ModuleDict({**parts, "outputs": outputs})

    def forward(self, ids):
        x = self.net_dict["embedding"](ids)
        for block in self.net_dict["attn_layers"]:
            x = block(x)
        return self.net_dict["outputs"](self.net_dict["norm"](x))


network("language model", "hlb-gpt", least=0.95)(lambda: (SpeedyLangNet(), TOKENS()))
network("language model", "hlb-gpt-wide", least=0.95)(lambda: (SpeedyLangNet(16, 16, 48), TOKENS()))
