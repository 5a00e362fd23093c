# A layer's attention of each row's newest token to what the row has in its slot; with `attended` of attention.py.


def written(
    self, cache: Tensor, now: Tensor, rows: Tensor, lengths: Tensor, read: int
) -> Tensor:
    # Puts [B, heads, 1, D] behind what each row has in its slot of [slots, heads, capacity, D], and gives the first
    # `read` of the rows' slots, a view.
    at: List[Optional[Tensor]] = [rows, lengths]
    cache.transpose(1, 2).index_put_(at, now.squeeze(2))
    return cache[: now.size(0), :, :read]


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
    keys = self.written(cache[at], key, rows, lengths, bias.size(3))
    values = self.written(cache[at + 1], value, rows, lengths, bias.size(3))
    return self.attended(query, keys, values, bias, False)
