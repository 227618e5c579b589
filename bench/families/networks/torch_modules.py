"""Modules of torch.nn, alone and in networks that are not known."""

import torch
from torch import nn

from harness import network
from networks.residuals import Fn

HEADS = {"num_heads": 4}
ROWS = lambda: torch.randn(2, 5, 16)
# What goes from layer to layer is input and output of the whole.
STREAM = [r"norm", r"(^|\.)(linear2|out_proj)\.bias$"]


def encoder(layers=2, **more):
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 40, batch_first=True, **more), layers, enable_nested_tensor=False)


@network("torch modules", config=HEADS, least=0.95, stays=STREAM)
def encoder_stack():
    return encoder(), ROWS


@network("torch modules", config=HEADS, least=0.95, stays=STREAM)
def encoder_stack_norm_first():
    return encoder(3, norm_first=True, activation="gelu"), ROWS


@network("torch modules", config=HEADS, least=0.95, stays=STREAM)
def encoder_stack_without_biases():
    return encoder(2, bias=False), ROWS


@network("torch modules", config=HEADS, least=0.95, stays=STREAM)
def decoder_stack():
    layer = nn.TransformerDecoderLayer(16, 4, 40, batch_first=True)
    return nn.TransformerDecoder(layer, 2), lambda: (torch.randn(2, 5, 16), torch.randn(2, 3, 16))


@network("torch modules", config={"nhead": 4}, least=0.95, stays=STREAM)
def transformer_whole():
    return nn.Transformer(16, 4, 2, 2, 40, batch_first=True), lambda: (torch.randn(2, 5, 16), torch.randn(2, 3, 16))


@network("torch modules", config=HEADS, least=0.95, stays=STREAM)
def attention_alone():
    model = nn.MultiheadAttention(16, 4, batch_first=True)
    return model, lambda: (torch.randn(2, 5, 16),) * 3


@network("torch modules", config=HEADS, least=0.5)
def encoder_in_classifier():
    def run(m, x):
        return m.head(m.encoder(m.embedding(x) + m.position).mean(1))

    model = Fn(run, embedding=nn.Embedding(20, 16), encoder=encoder(), head=nn.Linear(16, 5))
    model.position = nn.Parameter(torch.zeros(5, 16))
    return model, lambda: torch.randint(0, 20, (2, 5))


@network("operator", config=HEADS)
def attention_weights_by_head():
    """The weights of each head are read in their order."""

    def run(m, x):
        y, weights = m.attn(x, x, x, average_attn_weights=False)
        return m.head(y.mean(1) + m.mix(weights.mean((2, 3))) + m.mix(weights.amax((2, 3))))

    return Fn(run, attn=nn.MultiheadAttention(16, 4, batch_first=True), mix=nn.Linear(4, 16), head=nn.Linear(16, 5)), ROWS
