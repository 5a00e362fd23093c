# GPT-2 as a causal backbone: docs/backbone-contract.md. Children are named as in the Hugging Face
# checkpoint without its prefix: wte, wpe, h, ln_f, and lm_head where the output matrix is separate.
# B batch, Q positions run now, K of them asked for, S = past + Q positions seen, H hidden size.
# gpt2.ts repeats the marked section for each layer but the last, with its number for LAYER, puts
# the last one's for LAST, and the output matrix's owner for OUTPUT.


def embed(self, ids: Tensor) -> Tensor:
    # [B, T] -> [B, T, H]
    return torch.embedding(self.wte.weight, ids)


def head(self, h: Tensor, rows: Optional[Tensor]) -> Tensor:
    # [M, H] -> [M, N], or [M, V] for V rows of the output matrix
    return self.OUTPUT.logits(h, rows)


def attention_bias(
    self, x: Tensor, mask: Optional[Tensor], past_length: int, queries: Optional[Tensor]
) -> Tensor:
    # [B or 1, 1, K, S] in x's dtype, 0 where a query may look, else -inf; queries [B, K] or all Q
    length = past_length + x.size(1)
    keys = torch.arange(length, device=x.device)  # [S]
    if queries is None:
        own = keys[past_length:].unsqueeze(0)  # [1, Q]
    else:
        own = queries + past_length  # [B, K]
    own = own.unsqueeze(2)
    visible = keys <= own  # [B or 1, K, S]
    if mask is not None:
        # A padding query would see nothing, and the softmax of nothing is NaN: it sees itself.
        visible = (visible & mask.unsqueeze(1)) | (keys == own)
    bias = torch.zeros_like(visible, dtype=x.dtype)
    return bias.masked_fill_(visible.logical_not(), float("-inf")).unsqueeze(1)


def run(
    self,
    x: Tensor,  # [B, Q, H]
    positions: Tensor,  # [B, Q]
    mask: Optional[Tensor],  # [B, S]
    past: List[Tensor],  # k, v of each layer that runs: [M, heads, S - Q, H / heads], M divides B
    first: int,
    last: int,
    queries: Optional[Tensor],  # [B, K]
) -> Tuple[Tensor, List[Tensor]]:
    if first == 0:
        x = x + torch.embedding(self.wpe.weight, positions)
    past_length = 0
    if len(past) > 0:
        past_length = past[0].size(2)

    # `is_causal` is aligned top-left, so that it holds without a past only; one position that sees
    # everything needs no mask at all.
    causal = mask is None and past_length == 0
    bias: Optional[Tensor] = None
    if not causal and (mask is not None or x.size(1) > 1):
        bias = self.attention_bias(x, mask, past_length, None)

    present: List[Tensor] = []
    # repeat block
    if first <= LAYER and LAYER < last:
        x, key, value = getattr(self.h, "LAYER").forward(
            x, past, 2 * (LAYER - first), bias, causal, None
        )
        present.append(key)
        present.append(value)
    # end
    if last == LAST + 1:
        if queries is not None:
            causal = False
            bias = self.attention_bias(x, mask, past_length, queries)
        x, key, value = getattr(self.h, "LAST").forward(
            x, past, 2 * (LAST - first), bias, causal, queries
        )
        present.append(key)
        present.append(value)
        x = torch.layer_norm(x, [x.size(2)], self.ln_f.weight, self.ln_f.bias, self.eps)
    return x, present


def run_behind(
    self,
    x: Tensor,  # [B, Q, H]
    positions: Tensor,  # [B, Q]
    owners: Optional[Tensor],  # [B], whose keys and values a row stands behind; none: B / M rows behind each
    mask: Optional[Tensor],  # [B, P + Q]
    past: List[Tensor],  # k, v of each layer: [M, heads, P, H / heads]
    queries: Optional[Tensor],  # [B, K]
) -> Tuple[Tensor, List[Tensor]]:
    # Every layer of the rows: [B, Q, H], or [B, K, H] with `queries`; k, v of each, of the rows' own positions
    P = past[0].size(2)
    x = x + torch.embedding(self.wpe.weight, positions)
    bias: Optional[Tensor] = None
    if mask is not None or x.size(1) > 1:
        bias = self.attention_bias(x, mask, P, None)
    own: List[Tensor] = []
    # repeat block
    x, key, value = getattr(self.h, "LAYER").forward_behind(
        x, past, 2 * LAYER, owners, bias, None
    )
    own.append(key)
    own.append(value)
    # end
    if queries is not None:
        bias = self.attention_bias(x, mask, P, queries)
    x, key, value = getattr(self.h, "LAST").forward_behind(
        x, past, 2 * LAST, owners, bias, queries
    )
    own.append(key)
    own.append(value)
    return torch.layer_norm(x, [x.size(2)], self.ln_f.weight, self.ln_f.bias, self.eps), own


def run_with_prefixes(
    self,
    prefixes: Tensor,  # [K, P, H]
    x: Tensor,  # [B, Q, H]
    positions: Tensor,  # [B, Q]
    owners: Optional[Tensor],  # [B], which prefix a row stands behind; none: B / K rows behind each
    mask: Optional[Tensor],  # [B, P + Q]
    queries: Optional[Tensor],  # [B, asked]
) -> Tensor:
    # Every layer of the prefixes and of the rows behind them: [B, Q, H], or [B, asked, H] with `queries`
    K = prefixes.size(0)
    P = prefixes.size(1)
    batch = x.size(0)
    size = x.size(2)
    bias: Optional[Tensor] = None
    if mask is not None or x.size(1) > 1:
        bias = self.attention_bias(x, mask, P, None)
    place = torch.arange(P, device=x.device).expand(K, -1)
    places = torch.cat([place.flatten(), positions.flatten()])
    flat = torch.cat([prefixes.reshape(-1, size), x.reshape(-1, size)])
    flat = flat + torch.embedding(self.wpe.weight, places)

    # repeat block
    flat = getattr(self.h, "LAYER").forward_with_prefixes(flat, K, P, batch, owners, bias, None)
    # end
    asked: Optional[Tensor] = None
    if queries is not None:
        bias = self.attention_bias(x, mask, P, queries)
        begin = torch.arange(batch, device=x.device).unsqueeze(1) * x.size(1) + K * P
        asked = (queries + begin).flatten()
    flat = getattr(self.h, "LAST").forward_with_prefixes(flat, K, P, batch, owners, bias, asked)
    if queries is None:
        flat = flat[K * P :]
    flat = torch.layer_norm(flat, [size], self.ln_f.weight, self.ln_f.bias, self.eps)
    return flat.view(batch, -1, size)


def decode_step(
    self,
    x: Tensor,  # [B, 1, H]: each row's newest token
    cache: List[Tensor],  # k, v of each layer: [slots, heads, capacity, H / heads]; row b's slot is b
    lengths: Tensor,  # int64 [B]: keys and values that a row has in its slot
    read: int,  # keys that are read of a slot: more than any row has
) -> Tensor:
    # Puts each row's key and value behind those that it has: [B, H], after the final norm
    size = x.size(2)
    rows = torch.arange(x.size(0), device=x.device)
    keys = torch.arange(read, device=x.device)
    later = keys.unsqueeze(0) > lengths.unsqueeze(1)  # [B, read]
    bias = torch.zeros_like(later, dtype=x.dtype).masked_fill_(later, float("-inf"))
    bias = bias.unsqueeze(1).unsqueeze(1)
    flat = x.squeeze(1) + torch.embedding(self.wpe.weight, lengths)
    # repeat block
    flat = getattr(self.h, "LAYER").decode_step(
        flat, cache, 2 * LAYER, rows, lengths, bias
    )
    # end
    flat = getattr(self.h, "LAST").decode_step(flat, cache, 2 * LAST, rows, lengths, bias)
    return torch.layer_norm(flat, [size], self.ln_f.weight, self.ln_f.bias, self.eps)
