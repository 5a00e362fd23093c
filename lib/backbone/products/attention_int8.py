# A layer's attention in a model with weights of 8 bits: as attention.py, behind.py and slots.py have it, by native/attention.cc.


def attended(
    self, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], causal: bool
) -> Tensor:
    # [B, heads, Q, D], [B or 1, heads, S, D] twice -> [B, Q, heads * D]
    return lopt.attention(query, key, value, bias, causal, self.scale)


def attended_behind(
    self,
    query: Tensor,  # [B, heads, Q, D]
    past_key: Tensor,  # [M, heads, P, D]
    past_value: Tensor,
    owners: Optional[Tensor],  # int64 [B]
    key: Tensor,  # [B, heads, S, D]
    value: Tensor,
    bias: Optional[Tensor],  # [B or 1, 1, Q or 1, P + S]
) -> Tensor:
    # [B, Q, heads * D]
    return lopt.attention_behind(
        query, past_key, past_value, owners, key, value, bias, self.scale
    )


def attended_slots(
    self,
    query: Tensor,  # [B, heads, 1, D]
    key: Tensor,
    value: Tensor,
    cache: List[Tensor],
    at: int,  # where in `cache` this layer's keys lie; its values come next
    rows: Tensor,  # int64 [B], 0..B - 1
    lengths: Tensor,  # int64 [B]
    bias: Tensor,  # [B, heads or 1, 1, read]: -inf where a row has no key
) -> Tensor:
    # [B, 1, heads * D]
    return lopt.attend_slots(
        query, key, value, cache[at], cache[at + 1], lengths, bias, self.scale
    )
