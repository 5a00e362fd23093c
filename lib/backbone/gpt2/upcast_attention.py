# Attention of a GPT-2 whose configuration asks for scores in float32 in half precision: stands in the place of
# ../products/attention.py.


def attended(
    self, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], causal: bool
) -> Tensor:
    # [B, heads, Q, D], [B, heads, S, D] twice -> [B, Q, heads * D]
    if query.element_size() > 2:
        mixed = torch.scaled_dot_product_attention(
            query, key, value, bias, 0.0, causal, scale=self.scale
        )
        return mixed.transpose(1, 2).flatten(2)
    # Half precision. transformers' `_upcast_and_reordered_attn`: scores and softmax in float32, weights
    # and what they mix in half precision again.
    scores = torch.matmul(query.float(), key.float().transpose(2, 3)) * self.scale
    if bias is not None:
        scores = scores + bias
    if causal:
        hidden = torch.triu(torch.ones_like(scores[0, 0]), 1)
        scores = scores.masked_fill(hidden > 0, float("-inf"))
    mixed = torch.matmul(torch.softmax(scores, -1).to(value.dtype), value)
    return mixed.transpose(1, 2).flatten(2)
