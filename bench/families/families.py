"""The table of families: real networks with random weights, before and after an alignment. README.md tells more."""

import argparse
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402
import networks  # noqa: E402



def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("pattern", nargs="?", default="", help="only networks whose name or kind matches")
    words.add_argument("--json", help="write all rows to this file")
    words.add_argument("--why", action="store_true", help="print errors, warnings and reasons")
    words.add_argument("--spec", help="use this spec where a network has none of its own, such as chain")
    words.add_argument("--list", action="store_true", help="only list the networks")
    asked = words.parse_args()
    torch.set_num_threads(1)
    for module in pkgutil.iter_modules(networks.__path__):
        try:
            importlib.import_module(f"networks.{module.name}")
        except harness.Skip as missing:
            print(f"{module.name}: left out, {missing}", file=sys.stderr)
    wanted = [
        entry if asked.spec is None or entry.spec != "auto" else replace(entry, spec=asked.spec)
        for entry in harness.NETWORKS.values()
        if re.search(asked.pattern, entry.name) or re.search(asked.pattern, entry.kind)
    ]
    if asked.list:
        for entry in wanted:
            print(f"{entry.name}: {entry.kind}")
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as folder, Aligner() as aligner:
        for entry in wanted:
            row = measure(entry, Path(folder) / entry.name, aligner)
            rows.append(row)
            print(line_of(row), flush=True)
            if asked.why:
                for why in row["why"]:
                    print(f"    {why}")
    print(summary(rows))
    if asked.json:
        Path(asked.json).write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["result"] in ("BROKEN", "SHORT") for row in rows) else 0


class Aligner:
    """One process of terge for all networks."""

    def __enter__(self):
        self.process = subprocess.Popen(
            ["node", str(HERE / "align.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __call__(self, job: dict) -> dict:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if answer == "":
            raise RuntimeError("terge ended")
        return json.loads(answer)

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def measure(entry: harness.Network, folder: Path, aligner: Aligner) -> dict:
    one, _ = harness.build(entry, 1)
    other, inputs = harness.build(entry, 2)
    harness.save(entry, one, folder / "a")
    harness.save(entry, other, folder / "b")
    before = harness.forward(other, inputs)
    out = folder / "out"
    spec = entry.spec
    if entry.exporter is not None:
        spec = str(folder / "network.onnx")
        _, example = harness.build(entry, 1)
        harness.export(entry, one, example, Path(spec))
    told = aligner({"a": str(folder / "a"), "b": str(folder / "b"), "out": str(out), "spec": spec, "symmetry": entry.symmetry})
    how = entry.spec if isinstance(entry.spec, str) else "written"
    row = {"network": entry.name, "kind": entry.kind, "spec": how if entry.symmetry == "permutation" else entry.symmetry}
    if "errors" in told:
        codes = sorted({error["code"] for error in told["errors"]})
        why = [f"{error['code']}: {error['message']} ({error.get('hint', '')})" for error in told["errors"]]
        return {**row, "result": "refused", "codes": codes, "share": 0.0, "difference": None, "why": why}
    harness.load(other, out)
    difference = harness.largest_difference(before, harness.forward(other, inputs))
    elements = harness.movable(entry, folder / "b")
    touched = set(told["tensors"])
    share = sum(count for name, count in elements.items() if name in touched) / max(1, sum(elements.values()))
    broken = difference > entry.allowed
    short = entry.least is not None and share < entry.least
    result = "BROKEN" if broken else "SHORT" if short else "moved" if told["moved"] > 0 else "unmoved"
    why = [f"{warning['code']}: {warning['message']} ({warning.get('hint', '')})" for warning in told["warnings"]]
    why += [f"kept {name}: {reason}" for name, reason in told["kept"].items()]
    untouched = [name for name in elements if name not in touched]
    why += [f"not touched: {', '.join(untouched[:8])}{' …' if len(untouched) > 8 else ''}"] if untouched else []
    return {
        **row,
        "result": result,
        "family": told["family"],
        "codes": sorted({warning["code"] for warning in told["warnings"]}),
        "share": share,
        "moved": told["moved"],
        "units": told["units"],
        "basis": told.get("basis"),
        "kept": len(told["kept"]),
        "difference": difference,
        "why": why,
    }


HEAD = "| network | kind | spec | result | family | share | units moved | kept | largest difference | said |\n|---|---|---|---|---|--:|--:|--:|--:|---|"


def line_of(row: dict) -> str:
    units = f"{row['moved']} of {row['units']}" if row.get("units") else row.get("basis") or "–"
    difference = "–" if row["difference"] is None else f"{row['difference']:.0e}"
    cells = [
        row["network"],
        row["kind"],
        row["spec"],
        row["result"],
        row.get("family", "–"),
        f"{row['share']:.2f}",
        units,
        str(row.get("kept", "–")),
        difference,
        ", ".join(row["codes"]),
    ]
    return f"| {' | '.join(cells)} |"


def summary(rows: list[dict]) -> str:
    count = lambda result: sum(row["result"] == result for row in rows)
    parts = [f"{count(result)} {result}" for result in ("moved", "unmoved", "refused", "SHORT", "BROKEN") if count(result)]
    return f"\n{len(rows)} networks: {', '.join(parts)}"


if __name__ == "__main__":
    print(HEAD) if "--list" not in sys.argv and "-h" not in sys.argv and "--help" not in sys.argv else None
    sys.exit(main())
