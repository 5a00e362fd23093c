# Attention of one T5 decoder block to the encoder's output. Children: EncDecAttention.{q, k, v, o},
# layer_norm. B batch, Q positions run now, S encoder positions, D a head's size.


def split_heads(self, x: Tensor) -> Tensor:
    # [B, Q, heads * D] -> [B, heads, Q, D], a view
    return x.view(x.size(0), x.size(1), self.heads, self.head_size).transpose(1, 2)


def key_value(self, encoded: Tensor) -> Tuple[Tensor, Tensor]:
    # [B, S, H] -> two of [B, heads, S, D]
    key = self.split_heads(torch.linear(encoded, self.EncDecAttention.k.weight))
    value = self.split_heads(torch.linear(encoded, self.EncDecAttention.v.weight))
    return key, value


def forward(
    self,
    x: Tensor,  # [B, Q, H]
    key: Tensor,  # [B or 1, heads, S, D]
    value: Tensor,
    bias: Optional[Tensor],  # [B, 1, 1, S]: -inf at padding
) -> Tensor:
    batch = x.size(0)
    query = self.split_heads(torch.linear(self.norm(x), self.EncDecAttention.q.weight))
    key = key.expand(batch, -1, -1, -1)
    value = value.expand(batch, -1, -1, -1)
    mixed = torch.scaled_dot_product_attention(query, key, value, bias, 0.0, False, scale=1.0)
    mixed = mixed.transpose(1, 2).flatten(2)
    return x + torch.linear(mixed, self.EncDecAttention.o.weight)
