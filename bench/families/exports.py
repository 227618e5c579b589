"""Writes the ONNX files of test/fixtures/onnx: small networks by both exporters of PyTorch, with the shapes of their tensors.

Run families.py first: it shows that each network computes the same after an alignment by these graphs.
"""

import json
import sys
import tempfile
from pathlib import Path

import onnx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402
from networks import exported  # noqa: E402, F401

FOLDER = HERE.parent.parent / "test" / "fixtures" / "onnx"
# Only this entry says something about modules. Others hold paths of the machine.
KEPT = "pkg.torch.onnx.name_scopes"


def bare(file: Path) -> onnx.ModelProto:
    model = onnx.load(str(file))
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for message in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        scopes = [entry for entry in message.metadata_props if entry.key == KEPT]
        del message.metadata_props[:]
        message.metadata_props.extend(scopes)
        message.doc_string = ""
    return model


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    shapes = {}
    for entry in harness.NETWORKS.values():
        if entry.exporter is None or not entry.kind.startswith("exported"):
            continue
        module, inputs = harness.build(entry, 1)
        # Half the bytes; the graph is the same.
        module, inputs = module.float(), as_float(inputs)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            harness.export(entry, module, inputs, file)
            onnx.save(bare(file), str(FOLDER / f"{entry.name}.onnx"))
        shapes[entry.name] = {name: list(value.shape) for name, value in module.state_dict().items()}
    (FOLDER / "shapes.json").write_text(json.dumps(shapes, indent=1) + "\n")


def as_float(inputs):
    if isinstance(inputs, (tuple, list)):
        return tuple(as_float(value) for value in inputs)
    return inputs.float() if inputs.is_floating_point() else inputs


main()
