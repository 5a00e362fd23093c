# Attention of one T5 decoder block to the encoder's output. Children: EncDecAttention.{q, k, v, o},
# layer_norm; `attended` of ../products. B batch, Q positions run now, S encoder positions, D a head's size.


def split_heads(self, x: Tensor) -> Tensor:
    # [B, Q, heads * D] -> [B, heads, Q, D], a view
    return x.view(x.size(0), x.size(1), self.heads, self.head_size).transpose(1, 2)


def key_value(self, encoded: Tensor) -> Tuple[Tensor, Tensor]:
    # [B, S, H] -> two of [B, heads, S, D]
    key = self.split_heads(self.EncDecAttention.k.product(encoded))
    value = self.split_heads(self.EncDecAttention.v.product(encoded))
    return key, value


def forward(
    self,
    x: Tensor,  # [B, Q, H]
    key: Tensor,  # [B or 1, heads, S, D]
    value: Tensor,
    bias: Optional[Tensor],  # [B, 1, 1, S]: -inf at padding
) -> Tensor:
    batch = x.size(0)
    query = self.split_heads(self.EncDecAttention.q.product(self.norm(x)))
    key = key.expand(batch, -1, -1, -1)
    value = value.expand(batch, -1, -1, -1)
    mixed = self.attended(query, key, value, bias, False)
    return self.EncDecAttention.o.added(mixed, x)


def by_head(self, weight: Tensor) -> Tensor:
    # [heads * D, H] -> [heads, D, H], a view
    return weight.view(self.heads, self.head_size, -1)


def forward_encoded(
    self,
    x: Tensor,  # [B, Q, H]
    encoded: Tensor,  # [B, S, H]
    bias: Optional[Tensor],  # [B, 1, 1, S]: -inf at padding
) -> Tensor:
    # As `forward` with `key_value(encoded)`, which projects all S positions. For few queries it takes less to
    # carry each of them into the encoder's space, q (E Wk')' = (q Wk) E', and the mixture out of it,
    # p (E Wv') = (p E) Wv'.
    batch = x.size(0)
    length = x.size(1)
    heads = self.heads
    size = x.size(2)
    weight = self.EncDecAttention
    query = weight.q.product(self.norm(x)).view(batch * length, heads, -1)
    carried = torch.bmm(query.transpose(0, 1), self.by_head(weight.k.weight))
    carried = carried.view(heads, batch, length, size).transpose(0, 1)
    carried = carried.reshape(batch, heads * length, size)
    scores = torch.bmm(carried, encoded.transpose(1, 2))  # [B, heads * Q, S]
    if bias is not None:
        scores = scores + bias.squeeze(1)
    mixed = torch.bmm(torch.softmax(scores, 2), encoded)  # [B, heads * Q, H]
    mixed = mixed.view(batch, heads, length, size).transpose(0, 1)
    mixed = mixed.reshape(heads, batch * length, size)
    mixed = torch.bmm(mixed, self.by_head(weight.v.weight).transpose(1, 2))
    mixed = mixed.transpose(0, 1).reshape(batch, length, -1)
    return weight.o.added(mixed, x)
