"""Encoders, encoders with decoders, and towers of transformers and of OpenCLIP."""

import torch
import transformers
from torch import nn

from harness import network
from networks.language_models import TOKENS, model

t = transformers
WIDE = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "max_position_embeddings": 16}
# What encoders give is the residual stream, and poolers give their own units.
STREAM = [r"embeddings?\.|layer_?norm|LayerNorm|_norm|norm[12]\.|pooler|output\.dense\.bias|fc2\.bias|o_proj\.bias|out_proj\.bias|lin2\.bias|out_lin\.bias|ffn_output\.bias|attention\.dense\.bias|seq_relationship|sop_classifier|(^|\.)shared|lambda1"]
END = [r"qa_outputs\.bias|classifier\.bias|predictions\.(decoder\.)?bias|lm_head\.bias|vocab_projector\.bias|logits_bias"]

for name, config, kind in (
    ("roberta-masked", t.RobertaConfig(**WIDE, pad_token_id=1), t.RobertaForMaskedLM),
    ("roberta-classifier", t.RobertaConfig(**WIDE, pad_token_id=1), t.RobertaForSequenceClassification),
    ("bert-answers", t.BertConfig(**WIDE), t.BertForQuestionAnswering),
    ("bert-tokens", t.BertConfig(**WIDE), t.BertForTokenClassification),
    ("electra", t.ElectraConfig(**WIDE, embedding_size=16), t.ElectraForTokenClassification),
    ("distilbert", t.DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_layers=2, n_heads=4, max_position_embeddings=16), t.DistilBertForMaskedLM),
    ("distilbert-classifier", t.DistilBertConfig(vocab_size=50, dim=16, hidden_dim=16, n_layers=2, n_heads=4, max_position_embeddings=16), t.DistilBertForSequenceClassification),
    ("distilbert-tokens", t.DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_layers=2, n_heads=4, max_position_embeddings=16, tie_word_embeddings=False), t.DistilBertForTokenClassification),
    ("albert", t.AlbertConfig(**WIDE, embedding_size=8), t.AlbertForMaskedLM),
    ("albert-square", t.AlbertConfig(**{**WIDE, "intermediate_size": 16}, embedding_size=16), t.AlbertForMaskedLM),
    ("albert-groups", t.AlbertConfig(**WIDE, embedding_size=8, num_hidden_groups=2, inner_group_num=2), t.AlbertForQuestionAnswering),
):
    model(name, config, kind, stays=END)
for name, config, kind in (
    ("bert-classifier", t.BertConfig(**WIDE), t.BertForSequenceClassification),
    ("albert-classifier", t.AlbertConfig(**WIDE, embedding_size=8), t.AlbertForSequenceClassification),
):
    model(name, config, kind, stays=[*END, r"pooler.*bias|classifier"])
for name, config, kind in (
    ("roberta-base", t.RobertaConfig(**WIDE, pad_token_id=1), t.RobertaModel),
    ("distilbert-base", t.DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_layers=2, n_heads=4, max_position_embeddings=16), t.DistilBertModel),
    ("albert-base", t.AlbertConfig(**WIDE, embedding_size=8), t.AlbertModel),
):
    model(name, config, kind, stays=STREAM)
model("bert-decoder", t.BertConfig(**WIDE, is_decoder=True, add_cross_attention=True), t.BertLMHeadModel, stays=END, inputs=lambda: {"input_ids": TOKENS(), "encoder_hidden_states": torch.randn(2, 5, 16).double()})

PAIRS = lambda: {"input_ids": TOKENS(), "decoder_input_ids": TOKENS()}
T5 = {"vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4}
model("t5-tied", t.T5Config(**T5), t.T5ForConditionalGeneration, inputs=PAIRS)
model("t5-untied", t.T5Config(**{**T5, "d_kv": 6}, tie_word_embeddings=False), t.T5ForConditionalGeneration, inputs=PAIRS)
model("t5-gated", t.T5Config(**T5, feed_forward_proj="gated-gelu", num_decoder_layers=1), t.T5ForConditionalGeneration, inputs=PAIRS)
model("mt5", t.MT5Config(**T5), t.MT5ForConditionalGeneration, inputs=PAIRS)
model("umt5", t.UMT5Config(**T5), t.UMT5ForConditionalGeneration, inputs=PAIRS)
model("t5-encoder", t.T5Config(**T5), t.T5EncoderModel, stays=[*STREAM, r"embed_tokens"])
model("t5-base", t.T5Config(**T5), t.T5Model, inputs=PAIRS, stays=[*STREAM, "embed_tokens"])
BART = {"vocab_size": 50, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 24, "max_position_embeddings": 16}
model("bart", t.BartConfig(**BART), t.BartForConditionalGeneration, inputs=PAIRS, stays=END)
model("mbart", t.MBartConfig(**BART), t.MBartForConditionalGeneration, inputs=PAIRS, stays=END)
model("bart-square", t.BartConfig(**{**BART, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}, scale_embedding=True), t.BartForConditionalGeneration, inputs=PAIRS, stays=END)
model("bart-classifier", t.BartConfig(**BART, num_labels=3, eos_token_id=2), t.BartForSequenceClassification, inputs=lambda: {"input_ids": torch.tensor([[5, 7, 9, 2], [6, 8, 1, 2]])}, stays=[*END, r"out_proj\.bias"])
model("bart-base", t.BartConfig(**BART), t.BartModel, inputs=PAIRS, stays=[*STREAM, r"embed_(tokens|positions)"])
# Positions are computed, not stored.
model("marian", t.MarianConfig(**BART, pad_token_id=0), t.MarianMTModel, least=None, inputs=PAIRS)
model("pegasus", t.PegasusConfig(**BART), t.PegasusForConditionalGeneration, least=None, inputs=PAIRS)
model("m2m100", t.M2M100Config(**BART), t.M2M100ForConditionalGeneration, least=None, inputs=PAIRS)
SOUND = {**{k: v for k, v in BART.items() if k != "max_position_embeddings"}, "num_mel_bins": 8, "max_source_positions": 6, "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
HEARD = lambda: {"input_features": torch.randn(2, 8, 12), "decoder_input_ids": TOKENS()}
model("whisper", t.WhisperConfig(**SOUND), t.WhisperForConditionalGeneration, inputs=HEARD)
model("whisper-base", t.WhisperConfig(**SOUND), t.WhisperModel, inputs=HEARD, stays=[*STREAM, r"embed_(tokens|positions)|conv2"])

TEXT = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SEEN = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 16, "patch_size": 8}
BOTH = lambda: {"input_ids": torch.tensor([[5, 7, 9, 2], [6, 8, 1, 2]]), "pixel_values": torch.randn(2, 3, 16, 16)}
PICTURE = lambda: {"pixel_values": torch.randn(2, 3, 16, 16)}
model("clip", t.CLIPConfig(text_config=TEXT, vision_config=SEEN, projection_dim=12), t.CLIPModel, inputs=BOTH)
model("clip-same-widths", t.CLIPConfig(text_config=TEXT, vision_config={**TEXT, "image_size": 16, "patch_size": 8}, projection_dim=16), t.CLIPModel, inputs=BOTH)
model("clip-text", t.CLIPTextConfig(**TEXT), t.CLIPTextModel, inputs=lambda: {"input_ids": TOKENS()}, stays=STREAM)
model("clip-text-projected", t.CLIPTextConfig(**TEXT, projection_dim=12), t.CLIPTextModelWithProjection, inputs=lambda: {"input_ids": TOKENS()})
model("clip-vision", t.CLIPVisionConfig(**SEEN), t.CLIPVisionModel, inputs=PICTURE, stays=[*STREAM, "layrnorm|embedding"])
model("siglip", t.SiglipConfig(text_config=TEXT, vision_config={**SEEN, "hidden_size": 16, "num_attention_heads": 4}), t.SiglipModel, inputs=BOTH, stays=["head.(layernorm|attention.out_proj.bias|mlp.fc2.bias)|text_model.head.bias"])
model("siglip-vision", t.SiglipVisionConfig(**SEEN), t.SiglipVisionModel, inputs=PICTURE, stays=[*STREAM, "embedding"])
PLAIN = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "image_size": 16, "patch_size": 8}
model("vit", t.ViTConfig(**PLAIN), t.ViTForImageClassification, inputs=PICTURE, stays=END)
model("vit-square", t.ViTConfig(**{**PLAIN, "intermediate_size": 16}, qkv_bias=False), t.ViTForImageClassification, inputs=PICTURE, stays=END)
model("vit-base", t.ViTConfig(**PLAIN), t.ViTModel, inputs=PICTURE, stays=STREAM)
model("deit", t.DeiTConfig(**PLAIN), t.DeiTForImageClassification, inputs=PICTURE, stays=END)
model("dinov2", t.Dinov2Config(**PLAIN), t.Dinov2Model, inputs=PICTURE, stays=[*STREAM, "layernorm"])
model("dinov2-gated", t.Dinov2Config(**PLAIN, use_swiglu_ffn=True), t.Dinov2Model, inputs=PICTURE, stays=[*STREAM, "weights_out.bias|down_proj.bias"])
model("dinov2-classifier", t.Dinov2Config(**PLAIN), t.Dinov2ForImageClassification, inputs=PICTURE, stays=END)
model("dinov3", t.DINOv3ViTConfig(**PLAIN), t.DINOv3ViTModel, inputs=PICTURE, least=None)


class Resblock(nn.Module):
    """OpenAI's CLIP and OpenCLIP."""

    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 2 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(2 * width, width))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Tower(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.resblocks = nn.Sequential(Resblock(width, heads), Resblock(width, heads))


class Visual(nn.Module):
    def __init__(self, width, heads, out):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 8, 8, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(5, width))
        self.ln_pre, self.transformer, self.ln_post = nn.LayerNorm(width), Tower(width, heads), nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, out))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        x = self.ln_pre(torch.cat([first, x], 1) + self.positional_embedding)
        return self.ln_post(self.transformer.resblocks(x)[:, 0]) @ self.proj


class OpenClip(nn.Module):
    def __init__(self, width=16, seen=24, out=12):
        super().__init__()
        self.visual = Visual(seen, 3, out)
        self.token_embedding = nn.Embedding(50, width)
        self.positional_embedding = nn.Parameter(torch.randn(16, width))
        self.transformer, self.ln_final = Tower(width, 4), nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, out))
        self.logit_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, ids, picture):
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer.resblocks(x)[:, -1]) @ self.text_projection
        return self.logit_scale.exp() * x @ self.visual(picture).T, x


PARTS = {"text_cfg": {"heads": 4}, "vision_cfg": {"heads": 3}}
for name, config in {"open-clip": PARTS, "open-clip-config": {"model_cfg": {"embed_dim": 12, "text_cfg": {"heads": 4, "width": 16}, "vision_cfg": {"width": 24, "patch_size": 8, "head_width": 8}}}, "open-clip-without-config": None}.items():
    network("language model", name, config=config, least=0.95)(lambda: (OpenClip(), (TOKENS(), torch.randn(2, 3, 16, 16))))
network("language model", "open-clip-same-widths", config=PARTS)(lambda: (OpenClip(24, 24, 24), (TOKENS(), torch.randn(2, 3, 16, 16))))
