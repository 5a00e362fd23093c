# A layer's attention of rows behind keys and values that several of them share; with `attended` of attention.py.


def joined(self, before: Tensor, owners: Optional[Tensor], now: Tensor) -> Tensor:
    # [M, heads, P, D] and [B, heads, S, D] -> [B, heads, P + S, D]. Joined before the heads are apart: whole rows are
    # copied, not pieces of a head's size.
    batch = now.size(0)
    heads = now.size(1)
    first = before.transpose(1, 2).flatten(2)  # [M, P, heads * D]
    then = now.transpose(1, 2).flatten(2)
    if owners is not None:
        rows = torch.cat([first.index_select(0, owners), then], 1)
    else:
        # As many rows behind each: one copy.
        M = first.size(0)
        each = batch // M
        size = then.size(2)
        parts = [first.unsqueeze(1).expand(-1, each, -1, -1), then.view(M, each, -1, size)]
        rows = torch.cat(parts, 2)
    return rows.view(batch, -1, heads, now.size(3)).transpose(1, 2)


def attended_behind(
    self,
    query: Tensor,  # [B, heads, Q, D]
    past_key: Tensor,  # [M, heads, P, D]
    past_value: Tensor,
    owners: Optional[Tensor],  # int64 [B]: whose a row stands behind; none: as many rows in turn behind each
    key: Tensor,  # [B, heads, S, D]
    value: Tensor,
    bias: Optional[Tensor],  # [B or 1, 1, Q or 1, P + S]
) -> Tensor:
    # [B, Q, heads * D]
    keys = self.joined(past_key, owners, key)
    values = self.joined(past_value, owners, value)
    return self.attended(query, keys, values, bias, False)
