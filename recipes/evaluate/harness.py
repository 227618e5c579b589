"""Scores of lm-evaluation-harness as metrics: python harness.py MODEL TASK[,TASK]... [FOLDER OF TASKS]."""

import contextlib
import json
import sys

import lm_eval
import torch
from lm_eval.tasks import TaskManager

folder, tasks, *own = sys.argv[1:]
# The harness prints its progress. terge reads one JSON object from the standard output.
with contextlib.redirect_stdout(sys.stderr):
    results = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": folder, "dtype": "auto"},
        tasks=tasks.split(","),
        task_manager=TaskManager(include_path=own[0] if own else None),
        batch_size=8,
        device="cuda" if torch.cuda.is_available() else "cpu",
        bootstrap_iters=0,
    )["results"]

metrics = {}
for task, scores in results.items():
    for name, value in scores.items():
        metric, _, filtered = name.partition(",")
        if isinstance(value, float) and not metric.endswith("_stderr"):
            metrics["_".join([task, metric] + ([] if filtered in ("", "none") else [filtered]))] = value
print(json.dumps(metrics))
