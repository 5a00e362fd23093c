"""Writes a GPT-2 checkpoint folder as an ONNX model that scores labels, and the same by onnxruntime's dynamic quantization:
onnx_of.py FOLDER FLOAT32.onnx INT8.onnx

Its inputs: ids [B, T] int64, padded on the right; at [B] int64, where each row ends, the prefix counted; labels [n] int64;
prefix [B, P, H] float32, P 0 for none. Its output: log-probabilities [B, n] of the labels as a row's next token."""

import sys

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForCausalLM

folder, plain, quantized = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
H = model.config.n_embd


class Scores(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model.transformer
        # A matrix of its own, as quantization wants it: of a tied one it would turn the embeddings over as well.
        self.head = torch.nn.Parameter(model.lm_head.weight.detach().t().contiguous())

    def forward(self, ids, at, labels, prefix):
        x = torch.cat([prefix, self.model.wte(ids)], 1)
        # Padding lies behind each row's end: causal attention needs no other mask.
        hidden = self.model(inputs_embeds=x, use_cache=False).last_hidden_state
        asked = hidden[torch.arange(x.shape[0]), at]
        return (asked @ self.head).log_softmax(-1)[:, labels]


B, T, P = 3, 5, 2
any_size = torch.export.Dim.DYNAMIC
inputs = {
    "ids": torch.zeros(B, T, dtype=torch.int64),
    "at": torch.full((B,), P + T - 1),
    "labels": torch.tensor([1, 2]),
    "prefix": torch.zeros(B, P, H),
}
with torch.no_grad():
    torch.onnx.export(
        Scores().eval(),
        tuple(inputs.values()),
        plain,
        input_names=list(inputs),
        output_names=["scores"],
        dynamic_shapes={
            "ids": {0: any_size, 1: any_size},
            "at": {0: any_size},
            "labels": {0: any_size},
            "prefix": {0: any_size, 1: any_size},
        },
        external_data=False,
        verbose=False,
    )
# Of the embeddings too, as it does unless told otherwise; a scale for each output instead of one for a matrix.
quantize_dynamic(plain, quantized, per_channel=True, weight_type=QuantType.QInt8)
