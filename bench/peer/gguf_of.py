"""Writes a GPT-2 checkpoint folder as a GGUF file for llama.cpp, weights of products as Q8_0: gguf_of.py FOLDER OUT.gguf"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

folder, out = Path(sys.argv[1]), sys.argv[2]
config = json.loads((folder / "config.json").read_text())
stored = load_file(folder / "model.safetensors")
weights = {name.removeprefix("transformer."): value.astype(np.float32) for name, value in stored.items()}
H, L = config["n_embd"], config["n_layer"]

writer = gguf.GGUFWriter(out, "gpt2")
writer.add_context_length(config["n_positions"])
writer.add_embedding_length(H)
writer.add_block_count(L)
writer.add_feed_forward_length(config.get("n_inner") or 4 * H)
writer.add_head_count(config["n_head"])
writer.add_layer_norm_eps(config["layer_norm_epsilon"])
writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)

tokenizer = json.loads((folder / "tokenizer.json").read_text())
tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
filler = [f"<unused{i}>" for i in range(len(tokens), config["vocab_size"])]
merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("gpt-2")
writer.add_token_list(tokens + filler)
writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.UNUSED] * len(filler))
writer.add_token_merges(merges)
writer.add_bos_token_id(0)
writer.add_eos_token_id(0)


def add(name, value, in_8_bits=False):
    value = np.ascontiguousarray(value)
    if in_8_bits:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, value)


add("token_embd.weight", weights["wte.weight"], True)
add("position_embd.weight", weights["wpe.weight"])
add("output_norm.weight", weights["ln_f.weight"])
add("output_norm.bias", weights["ln_f.bias"])
for i in range(L):
    for ours, theirs in (("ln_1", "attn_norm"), ("ln_2", "ffn_norm")):
        for part in ("weight", "bias"):
            add(f"blk.{i}.{theirs}.{part}", weights[f"h.{i}.{ours}.{part}"])
    for ours, theirs in (
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ):
        add(f"blk.{i}.{theirs}.weight", weights[f"h.{i}.{ours}.weight"].T, True)
        add(f"blk.{i}.{theirs}.bias", weights[f"h.{i}.{ours}.bias"])
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
