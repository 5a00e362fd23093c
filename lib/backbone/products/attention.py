# A layer's attention. `self.scale` is what scores are multiplied by.
# B batch, Q queries, S keys, D a head's size.


def attended(
    self, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], causal: bool
) -> Tensor:
    # [B, heads, Q, D], [B, heads, S, D] twice -> [B, Q, heads * D]
    mixed = torch.scaled_dot_product_attention(
        query, key, value, bias, 0.0, causal, scale=self.scale
    )
    return mixed.transpose(1, 2).flatten(2)
