# Self-attention of one T5 block. Children: SelfAttention.{q, k, v, o}, layer_norm.
# B batch, Q positions run now, S = past + Q positions seen, D a head's size. Scores are not scaled.


def split_heads(self, x: Tensor) -> Tensor:
    # [B, Q, heads * D] -> [B, heads, Q, D], a view
    return x.view(x.size(0), x.size(1), self.heads, self.head_size).transpose(1, 2)


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
    normed = self.norm(x)
    query = self.split_heads(self.SelfAttention.q.product(normed))
    key = self.split_heads(self.SelfAttention.k.product(normed))
    value = self.split_heads(self.SelfAttention.v.product(normed))
    key = self.with_past(past, at, key)
    value = self.with_past(past, at + 1, value)
    mixed = torch.scaled_dot_product_attention(query, key, value, bias, 0.0, False, scale=1.0)
    mixed = mixed.transpose(1, 2).flatten(2)
    return x + self.SelfAttention.o.product(mixed), key, value


def written(
    self, cache: Tensor, now: Tensor, rows: Tensor, lengths: Tensor, read: int
) -> Tensor:
    # Puts [B, heads, 1, D] behind what each row has in its slot of [slots, heads, capacity, D], and gives the first
    # `read` of the rows' slots, a view.
    at: List[Optional[Tensor]] = [rows, lengths]
    cache.transpose(1, 2).index_put_(at, now.squeeze(2))
    return cache[: now.size(0), :, :read]


def decode_step(
    self,
    x: Tensor,  # [B, 1, H]
    bias: Tensor,  # [B, heads, 1, read]: of relative positions; -inf where a row has no key yet
    cache: List[Tensor],
    at: int,
    rows: Tensor,  # int64 [B], 0..B - 1
    lengths: Tensor,  # int64 [B]
) -> Tensor:
    read = bias.size(3)
    normed = self.norm(x)
    query = self.split_heads(self.SelfAttention.q.product(normed))
    key = self.split_heads(self.SelfAttention.k.product(normed))
    value = self.split_heads(self.SelfAttention.v.product(normed))
    keys = self.written(cache[at], key, rows, lengths, read)
    values = self.written(cache[at + 1], value, rows, lengths, read)
    mixed = torch.scaled_dot_product_attention(query, keys, values, bias, 0.0, False, scale=1.0)
    mixed = mixed.transpose(1, 2).flatten(2)
    return x + self.SelfAttention.o.product(mixed)
