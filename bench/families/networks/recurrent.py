"""Stacks of LSTM, GRU and RNN layers with linear layers and embeddings."""

import torch
from torch import nn

from harness import network
from networks.residuals import Fn

ROWS = lambda: torch.randn(2, 5, 6)
TOKENS = lambda: torch.randint(0, 20, (2, 5))


def last(m, x):
    """The output at the last time step."""
    return m.fc(m.rnn(x)[0][:, -1])


def chained(name, make, inputs=ROWS, run=last):
    for spec, least in ("chain", 0.95), ("auto", None):
        network("recurrent", f"{name}-{spec}", spec=spec, least=least)(lambda: (Fn(run, **make()), inputs))


def tokens(m, x):
    return m.fc(torch.relu(m.hidden(m.rnn(m.embedding(x))[0])))


chained("lstm", lambda: dict(rnn=nn.LSTM(6, 10, batch_first=True), fc=nn.Linear(10, 3)))
chained("lstm-deep", lambda: dict(rnn=nn.LSTM(6, 10, 3, batch_first=True), fc=nn.Linear(10, 3)))
chained("lstm-projected", lambda: dict(rnn=nn.LSTM(6, 10, 2, batch_first=True, proj_size=4), fc=nn.Linear(4, 3)))
chained("lstm-both-ways", lambda: dict(rnn=nn.LSTM(6, 10, 2, batch_first=True, bidirectional=True), fc=nn.Linear(20, 3)))
chained("lstm-both-ways-projected", lambda: dict(rnn=nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True, proj_size=3), fc=nn.Linear(6, 3)))
chained("gru", lambda: dict(rnn=nn.GRU(6, 10, 2, batch_first=True), fc=nn.Linear(10, 3)))
chained("gru-without-biases", lambda: dict(rnn=nn.GRU(6, 10, 2, batch_first=True, bias=False), fc=nn.Linear(10, 3)))
chained("rnn", lambda: dict(rnn=nn.RNN(6, 10, 2, batch_first=True), fc=nn.Linear(10, 3)))
chained(
    "gru-tokens",
    lambda: dict(embedding=nn.Embedding(20, 7), rnn=nn.GRU(7, 12, batch_first=True, bidirectional=True), hidden=nn.Linear(24, 9), fc=nn.Linear(9, 5)),
    TOKENS,
    tokens,
)
