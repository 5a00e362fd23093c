"""Makes a `.pt` backbone for lopt from a transformers GPT-2 or T5 folder, without lopt: an example of
what docs/backbone-contract.md asks for, and a starting point for other architectures.

    python scripts/make-torchscript-backbone.py MODEL_FOLDER OUT.pt

Needs torch and transformers. The modules below are written out rather than taken from transformers,
whose own cannot be scripted with caches and layer ranges.
"""

import math
import sys
from pathlib import Path
from typing import List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.activations import ACT2FN


class Weights(nn.Module):
    """Parameters under the names of the checkpoint."""

    def __init__(self, **tensors: Tensor):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor.detach().clone(), requires_grad=False))


class Named(nn.Module):
    """Children under the names of the checkpoint."""

    def __init__(self, **children: nn.Module):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


def pair(module) -> Weights:
    return Weights(weight=module.weight, bias=module.bias)


class GPT2Block(nn.Module):
    def __init__(self, block, config, layer: int):
        super().__init__()
        self.heads: int = config.n_head
        self.eps: float = config.layer_norm_epsilon
        size = config.n_embd // config.n_head
        scale = size**-0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            scale /= layer + 1
        self.scale: float = scale
        self.ln_1, self.ln_2 = pair(block.ln_1), pair(block.ln_2)
        self.attn = Named(c_attn=pair(block.attn.c_attn), c_proj=pair(block.attn.c_proj))
        self.mlp = Named(c_fc=pair(block.mlp.c_fc), c_proj=pair(block.mlp.c_proj))
        self.act = ACT2FN[config.activation_function]

    def forward(
        self, x: Tensor, bias: Tensor, past: List[Tensor], queries: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Tensor]:
        B, Q, H = x.shape
        normed = layer_norm(x, [H], self.ln_1.weight, self.ln_1.bias, self.eps)
        qkv = normed @ self.attn.c_attn.weight + self.attn.c_attn.bias
        query, key, value = qkv.split(H, 2)
        if queries is not None:
            index = queries.unsqueeze(2).expand(-1, -1, H)
            query, x = query.gather(1, index), x.gather(1, index)
        shape = [B, -1, self.heads, H // self.heads]
        query, key, value = (
            query.reshape(shape).transpose(1, 2),
            key.reshape(shape).transpose(1, 2),
            value.reshape(shape).transpose(1, 2),
        )
        if len(past) > 0:
            key = torch.cat([past[0].expand(B, -1, -1, -1), key], 2)
            value = torch.cat([past[1].expand(B, -1, -1, -1), value], 2)
        mixed = scaled_dot_product_attention(query, key, value, bias, scale=self.scale)
        mixed = mixed.transpose(1, 2).flatten(2)
        x = x + mixed @ self.attn.c_proj.weight + self.attn.c_proj.bias
        normed = layer_norm(x, [H], self.ln_2.weight, self.ln_2.bias, self.eps)
        inner = self.act(normed @ self.mlp.c_fc.weight + self.mlp.c_fc.bias)
        return x + inner @ self.mlp.c_proj.weight + self.mlp.c_proj.bias, key, value


class GPT2Backbone(nn.Module):
    def __init__(self, model):
        super().__init__()
        t, c = model.transformer, model.config
        self.layers: int = c.n_layer
        self.eps: float = c.layer_norm_epsilon
        self.wte, self.wpe = Weights(weight=t.wte.weight), Weights(weight=t.wpe.weight)
        self.h = nn.ModuleList([GPT2Block(block, c, i) for i, block in enumerate(t.h)])
        self.ln_f = pair(t.ln_f)
        tied = model.lm_head.weight is t.wte.weight
        self.lm_head = self.wte if tied else Weights(weight=model.lm_head.weight)

    @torch.jit.export
    def embed(self, ids: Tensor) -> Tensor:
        return torch.embedding(self.wte.weight, ids)

    @torch.jit.export
    def head(self, h: Tensor, rows: Optional[Tensor]) -> Tensor:
        weight = self.lm_head.weight
        if rows is not None:
            weight = weight.index_select(0, rows)
        return linear(h, weight)

    def bias(self, x: Tensor, mask: Optional[Tensor], past: int, own: Tensor) -> Tensor:
        """[B or 1, 1, queries, S]: 0 where a query may look, else -inf; it always sees itself."""
        keys = torch.arange(past + x.size(1), device=x.device)
        own = own.unsqueeze(2) + past
        visible = keys <= own
        if mask is not None:
            visible = (visible & mask.unsqueeze(1)) | (keys == own)
        bias = torch.zeros_like(visible, dtype=x.dtype)
        return bias.masked_fill(visible.logical_not(), float("-inf")).unsqueeze(1)

    @torch.jit.export
    def run(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Optional[Tensor],
        past: List[Tensor],
        first: int,
        last: int,
        queries: Optional[Tensor],
    ) -> Tuple[Tensor, List[Tensor]]:
        if first == 0:
            x = x + torch.embedding(self.wpe.weight, positions)
        length = 0
        if len(past) > 0:
            length = past[0].size(2)
        every = torch.arange(x.size(1), device=x.device).unsqueeze(0)
        bias = self.bias(x, mask, length, every)
        asked_bias = bias
        if queries is not None:
            asked_bias = self.bias(x, mask, length, queries)
        present: List[Tensor] = []
        for i, block in enumerate(self.h):
            if first <= i and i < last:
                own: List[Tensor] = []
                if len(past) > 0:
                    own = past[2 * (i - first) : 2 * (i - first) + 2]
                asked: Optional[Tensor] = None
                if i == self.layers - 1:
                    asked = queries
                x, key, value = block(x, bias if asked is None else asked_bias, own, asked)
                present += [key, value]
        if last == self.layers:
            x = layer_norm(x, [x.size(2)], self.ln_f.weight, self.ln_f.bias, self.eps)
        return x, present


def weight_of(module) -> Weights:
    return Weights(weight=module.weight)


class T5Attention(nn.Module):
    def __init__(self, attention, norm, name: str):
        super().__init__()
        parts = {key: weight_of(getattr(attention, key)) for key in ["q", "k", "v", "o"]}
        if attention.has_relative_attention_bias:
            parts["relative_attention_bias"] = weight_of(attention.relative_attention_bias)
        self.attention = Named(**parts)
        self.layer_norm = weight_of(norm)
        self.heads: int = attention.n_heads
        self.eps: float = norm.variance_epsilon

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def query(self, x: Tensor) -> Tensor:
        normed = torch.rms_norm(x, [x.size(2)], self.layer_norm.weight, self.eps)
        return self.split(linear(normed, self.attention.q.weight))

    def key_value(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        key = self.split(linear(x, self.attention.k.weight))
        return key, self.split(linear(x, self.attention.v.weight))

    def mix(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor]):
        B = x.size(0)
        key, value = key.expand(B, -1, -1, -1), value.expand(B, -1, -1, -1)
        mixed = scaled_dot_product_attention(query, key, value, bias, scale=1.0)
        return x + linear(mixed.transpose(1, 2).flatten(2), self.attention.o.weight)

    def forward(
        self, x: Tensor, bias: Tensor, past: List[Tensor]
    ) -> Tuple[Tensor, Tensor, Tensor]:
        normed = torch.rms_norm(x, [x.size(2)], self.layer_norm.weight, self.eps)
        key, value = self.key_value(normed)
        if len(past) > 0:
            B = x.size(0)
            key = torch.cat([past[0].expand(B, -1, -1, -1), key], 2)
            value = torch.cat([past[1].expand(B, -1, -1, -1), value], 2)
        return self.mix(x, self.query(x), key, value, bias), key, value


class T5Block(nn.Module):
    def __init__(self, block):
        super().__init__()
        first, last = block.layer[0], block.layer[-1]
        self.own = T5Attention(first.SelfAttention, first.layer_norm, "SelfAttention")
        self.cross: Optional[T5Attention] = None
        if block.is_decoder:
            second = block.layer[1]
            self.cross = T5Attention(second.EncDecAttention, second.layer_norm, "EncDecAttention")
        dense = last.DenseReluDense
        self.gated: bool = hasattr(dense, "wi_0")
        self.inner = weight_of(dense.wi_0 if self.gated else dense.wi)
        self.gate = weight_of(dense.wi_1 if self.gated else dense.wi)
        self.outer = weight_of(dense.wo)
        self.layer_norm = weight_of(last.layer_norm)
        self.eps: float = last.layer_norm.variance_epsilon
        self.act = dense.act

    def feed_forward(self, x: Tensor) -> Tensor:
        normed = torch.rms_norm(x, [x.size(2)], self.layer_norm.weight, self.eps)
        hidden = self.act(linear(normed, self.inner.weight))
        if self.gated:
            hidden = hidden * linear(normed, self.gate.weight)
        return x + linear(hidden, self.outer.weight)


class T5Backbone(nn.Module):
    """Its parameters but the embedding have names of their own: the contract asks for that one."""

    def __init__(self, model):
        super().__init__()
        c = model.config
        self.buckets: int = c.relative_attention_num_buckets
        self.max_distance: int = c.relative_attention_max_distance
        self.layers: int = c.num_layers
        self.decoder_layers: int = c.num_decoder_layers
        self.eps: float = c.layer_norm_epsilon
        scaled = getattr(c, "scale_decoder_outputs", False)
        self.scale: float = c.d_model**-0.5 if scaled else 1.0
        self.shared = weight_of(model.shared)
        self.encoder = nn.ModuleList([T5Block(block) for block in model.encoder.block])
        self.decoder = nn.ModuleList([T5Block(block) for block in model.decoder.block])
        self.encoder_norm = weight_of(model.encoder.final_layer_norm)
        self.decoder_norm = weight_of(model.decoder.final_layer_norm)
        bias = [stack.block[0].layer[0].SelfAttention for stack in (model.encoder, model.decoder)]
        self.encoder_bias = weight_of(bias[0].relative_attention_bias)
        self.decoder_bias = weight_of(bias[1].relative_attention_bias)
        tied = torch.equal(model.lm_head.weight, model.shared.weight)
        self.lm_head = self.shared if tied else weight_of(model.lm_head)

    @torch.jit.export
    def embed(self, ids: Tensor) -> Tensor:
        return torch.embedding(self.shared.weight, ids)

    @torch.jit.export
    def head(self, h: Tensor, rows: Optional[Tensor]) -> Tensor:
        weight = self.lm_head.weight
        if rows is not None:
            weight = weight.index_select(0, rows)
        return linear(h * self.scale, weight)

    def relative_bias(self, weight: Tensor, past: int, length: int, both: bool) -> Tensor:
        keys = torch.arange(past + length, device=weight.device)
        distance = keys[None, :] - keys[past:, None]
        buckets = self.buckets
        offset = torch.zeros_like(distance)
        if both:
            buckets = buckets // 2
            offset = (distance > 0).to(torch.long) * buckets
            distance = distance.abs()
        else:
            distance = -torch.clamp(distance, max=0)
        exact = buckets // 2
        far = torch.log(distance.float() / exact) / math.log(self.max_distance / exact)
        far_bucket = (exact + (far * (buckets - exact)).to(torch.long)).clamp(max=buckets - 1)
        bucket = offset + torch.where(distance < exact, distance, far_bucket)
        return torch.embedding(weight, bucket).permute(2, 0, 1).unsqueeze(0)

    def padding(self, mask: Tensor, like: Tensor) -> Tensor:
        bias = torch.zeros_like(mask, dtype=like.dtype)
        return bias.masked_fill(mask.logical_not(), float("-inf"))[:, None, None, :]

    @torch.jit.export
    def encode(self, x: Tensor, mask: Optional[Tensor], first: int, last: int) -> Tensor:
        bias = self.relative_bias(self.encoder_bias.weight, 0, x.size(1), True)
        if mask is not None:
            bias = bias + self.padding(mask, bias)
        past: List[Tensor] = []
        for i, block in enumerate(self.encoder):
            if first <= i and i < last:
                x, key, value = block.own(x, bias, past)
                x = block.feed_forward(x)
        if last == self.layers:
            x = torch.rms_norm(x, [x.size(2)], self.encoder_norm.weight, self.eps)
        return x

    @torch.jit.export
    def cross_key_values(self, encoded: Tensor) -> List[Tensor]:
        cross: List[Tensor] = []
        for block in self.decoder:
            key, value = block.cross.key_value(encoded)
            cross += [key, value]
        return cross

    @torch.jit.export
    def decode(
        self,
        x: Tensor,
        past: List[Tensor],
        cross: List[Tensor],
        cross_mask: Optional[Tensor],
        first: int,
        last: int,
    ) -> Tuple[Tensor, List[Tensor]]:
        length = 0
        if len(past) > 0:
            length = past[0].size(2)
        bias = self.relative_bias(self.decoder_bias.weight, length, x.size(1), False)
        seen = torch.arange(length + x.size(1), device=x.device)
        bias = bias.masked_fill(seen[None, :] > seen[length:, None], float("-inf"))
        cross_bias: Optional[Tensor] = None
        if cross_mask is not None:
            cross_bias = self.padding(cross_mask, bias)
        present: List[Tensor] = []
        for i, block in enumerate(self.decoder):
            if first <= i and i < last:
                own: List[Tensor] = []
                if len(past) > 0:
                    own = past[2 * (i - first) : 2 * (i - first) + 2]
                x, key, value = block.own(x, bias, own)
                query = block.cross.query(x)
                x = block.cross.mix(x, query, cross[2 * i], cross[2 * i + 1], cross_bias)
                x = block.feed_forward(x)
                present += [key, value]
        if last == self.decoder_layers:
            x = torch.rms_norm(x, [x.size(2)], self.decoder_norm.weight, self.eps)
        return x, present


def make(folder: str) -> torch.jit.ScriptModule:
    model_type = AutoConfig.from_pretrained(folder).model_type
    kinds = {
        "gpt2": (AutoModelForCausalLM, GPT2Backbone),
        "t5": (AutoModelForSeq2SeqLM, T5Backbone),
        "mt5": (AutoModelForSeq2SeqLM, T5Backbone),
    }
    if model_type not in kinds:
        sys.exit(f"{folder}: {model_type} is not supported; these are: {', '.join(kinds)}")
    load, backbone = kinds[model_type]
    model = load.from_pretrained(folder, dtype=torch.float32).eval()
    return torch.jit.script(backbone(model).eval())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    names = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    extra = {name: (source / name).read_text() for name in names if (source / name).exists()}
    make(sys.argv[1]).save(sys.argv[2], _extra_files=extra)
