"""Reads a run folder's event files as TensorBoard does and compares them with metrics.jsonl:
python read_events.py RUN_FOLDER"""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

if len(sys.argv) != 2:
    sys.exit(__doc__)
folder = Path(sys.argv[1])
accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
accumulator.Reload()


def float32(x: float) -> float:
    return struct.unpack("f", struct.pack("f", x))[0]


expected: dict[str, list[tuple[int, float]]] = {}
names = {
    "step": {"loss": "train/loss", "gradNorm": "train/gradient_norm", "learningRate": "train/learning_rate"},
    "eval": {"loss": "dev/loss", "accuracy": "dev/accuracy", "macroF1": "dev/macro_f1"},
}
for line in (folder / "metrics.jsonl").read_text().splitlines():
    event = json.loads(line)
    for key, tag in names.get(event["type"], {}).items():
        expected.setdefault(tag, []).append((event["step"], float32(event[key])))

found = {
    tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
}
assert found == expected, {tag: (found.get(tag), expected.get(tag)) for tag in {*found, *expected}}
print({tag: len(values) for tag, values in found.items()})
