# Self-attention of one T5 block. Children: SelfAttention.{q, k, v, o}, layer_norm; `projected` of
# projections.py, `attended` and `attended_slots` of ../products.
# B batch, Q positions run now, S = past + Q positions seen, D a head's size.


def split_heads(self, x: Tensor) -> Tensor:
    # [B, Q, heads * D] -> [B, heads, Q, D], a view
    return x.view(x.size(0), x.size(1), self.heads, self.head_size).transpose(1, 2)


def heads_of(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    # [B, Q, H] -> three of [B, heads, Q, D]
    query, key, value = self.projected(x)
    return self.split_heads(query), self.split_heads(key), self.split_heads(value)


def with_past(self, past: List[Tensor], at: int, now: Tensor) -> Tensor:
    # a past of batch 1 is shared by all rows
    if len(past) == 0:
        return now
    return torch.cat([past[at].expand(now.size(0), -1, -1, -1), now], 2)


def forward(
    self,
    x: Tensor,  # [B, Q, H]
    bias: Tensor,  # [B or 1, heads, Q, S]: of relative positions; -inf where a query may not look
    past: List[Tensor],
    at: int,  # where in `past` this layer's key lies; its value comes next
) -> Tuple[Tensor, Tensor, Tensor]:
    query, key, value = self.heads_of(x)
    key = self.with_past(past, at, key)
    value = self.with_past(past, at + 1, value)
    mixed = self.attended(query, key, value, bias, False)
    return self.SelfAttention.o.added(mixed, x), key, value


def decode_step(
    self,
    x: Tensor,  # [B, 1, H]
    bias: Tensor,  # [B, heads, 1, read]: of relative positions; -inf where a row has no key yet
    cache: List[Tensor],
    at: int,
    rows: Tensor,  # int64 [B], 0..B - 1
    lengths: Tensor,  # int64 [B]
) -> Tensor:
    query, key, value = self.heads_of(x)
    mixed = self.attended_slots(query, key, value, cache, at, rows, lengths, bias)
    return self.SelfAttention.o.added(mixed, x)
