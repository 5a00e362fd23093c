"""Writes activations.json beside it: what transformers' activations give, in float64."""

import json
import textwrap
from pathlib import Path

import torch
from transformers.activations import ACT2FN

NAMES = """gelu_new gelu_pytorch_tanh gelu_fast gelu_accurate gelu_python_tanh gelu gelu_python
quick_gelu relu relu2 relu6 leaky_relu silu swish mish tanh sigmoid linear""".split()

x = torch.tensor([-7.5, -3.0, -1.25, -0.5, 0.0, 0.25, 1.0, 2.5, 7.5], dtype=torch.float64)
values = {name: ACT2FN[name](x).tolist() for name in NAMES}


def entry(name: str, row: list[float]) -> str:
    """One array, as this repository's formatter lays it out."""
    numbers = json.dumps(row)[1:-1].replace("e-0", "e-")
    line = f'  "{name}": [{numbers}]'
    if len(line) < 90:
        return line
    indent = {"initial_indent": "    ", "subsequent_indent": "    "}
    rows = textwrap.fill(numbers, 90, break_on_hyphens=False, **indent)
    return f'  "{name}": [\n{rows}\n  ]'


text = ",\n".join(entry(*item) for item in {"x": x.tolist(), **values}.items())
Path(__file__).with_suffix(".json").write_text("{\n" + text + "\n}\n")
