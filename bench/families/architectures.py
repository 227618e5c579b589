"""Writes test/fixtures/transformers/models.json: shapes and settings of small language models of the table.

Run families.py first: it shows that each network computes the same after an alignment. Then specs.mjs writes their specs."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402
from networks import encoders, language_models  # noqa: E402, F401

FOLDER = HERE.parent.parent / "test" / "fixtures" / "transformers"
# Settings that decide.
KEYS = r"architectures model_type num_attention_heads num_key_value_heads head_dim d_kv n_head n_heads num_heads num_kv_heads".split()
KEYS += "encoder_attention_heads decoder_attention_heads multi_query alibi new_decoder_architecture n_groups n_group topk_group".split()
KEYS += "text_config vision_config text_cfg vision_cfg heads position_embedding_type".split()
NAMES = """gptj gpt-neox gpt-neo bloom falcon-multi-query falcon-grouped falcon-heads falcon-alibi mpt gpt-bigcode gpt-bigcode-heads
qwen3 gemma3 phi3 glm4 olmo2 cohere qwen2-moe gpt-oss deepseek-v3 deepseek-v3-one-group deepseek-v2-lite mamba mamba2 mamba2-groups
hlb-gpt roberta-masked bert-decoder distilbert albert t5-tied bart bart-base whisper clip clip-vision siglip vit dinov2-classifier
open-clip qwen3-base mamba2-groups-without-config falcon-heads-without-config deepseek-v3-without-config""".split()


def deciding(config):
    return {key: deciding(value) if isinstance(value, dict) else value for key, value in config.items() if key in KEYS}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in NAMES:
        entry = harness.NETWORKS[name]
        tensors = {key: list(value.shape) for key, value in harness.build(entry, 1)[0].state_dict().items()}
        config = {} if entry.config is None else {"config": deciding(entry.config)}
        lines.append(f"{json.dumps(name)}: {json.dumps({**config, 'tensors': tensors})}")
    (FOLDER / "models.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
