# One block of GPT-2. Children are named as in the Hugging Face checkpoint: ln_1, attn.c_attn,
# attn.c_proj, ln_2, mlp.c_fc, mlp.c_proj; those with weights know their product, and the block its attention
# (../products).
# B batch, Q positions run now, K of them asked for, S = past + Q positions seen, H hidden size.


def split_heads(self, x: Tensor, batch: int) -> Tensor:
    # [B * Q, H] or [B, Q, H] -> [B, heads, Q, H / heads], a view
    return x.view(batch, -1, self.heads, self.head_size).transpose(1, 2)


def with_past(self, past: List[Tensor], at: int, now: Tensor, batch: int) -> Tensor:
    # [B * Q, H] -> [B, heads, S, H / heads]. A past of batch M is that of rows 0..M - 1, of the next M, ... Joined
    # before the heads are split: whole rows are copied, not pieces of a head's size.
    if len(past) == 0:
        return self.split_heads(now, batch)
    size = now.size(1)
    before = past[at].transpose(1, 2).flatten(2)  # [M, S_past, H]
    M = before.size(0)
    rows = [before.expand(batch // M, -1, -1, -1), now.view(batch // M, M, -1, size)]
    return self.split_heads(torch.cat(rows, 2).view(batch, -1, size), batch)


def attend(
    self, query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], causal: bool
) -> Tensor:
    # [B, heads, K, H / heads], [B, heads, S, H / heads] twice -> [B * K, H]
    return self.attended(query, key, value, bias, causal).flatten(0, 1)


def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
    # What follows attention, for each position by itself: x [.., H], mixed heads [M, H]
    x = self.attn.c_proj.added(mixed, x)
    return self.mlp.added(x, self.ln_2.weight, self.ln_2.bias, self.eps)


def query_key_value(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    # [.., H] -> three of [M, H]
    product = self.attn.c_attn.normed(x, self.ln_1.weight, self.ln_1.bias, self.eps)
    query, key, value = product.split(x.size(-1), 1)
    return query, key, value


def asked_query_key_value(
    self, x: Tensor, queries: Optional[Tensor]
) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    # Of x [B, Q, H] the positions that are asked for, [B, K, H], and their queries [B * K, H]; keys and values of
    # all, [B * Q, H]
    if queries is None:
        query, key, value = self.query_key_value(x)
        return x, query, key, value
    size = x.size(2)
    normed = torch.layer_norm(x, [size], self.ln_1.weight, self.ln_1.bias, self.eps)
    key, value = self.attn.c_attn.columns(normed.view(-1, size), size, 3 * size).split(size, 1)
    index = queries.unsqueeze(2).expand(-1, -1, size)
    asked = torch.gather(normed, 1, index).view(-1, size)
    query = self.attn.c_attn.columns(asked, 0, size)
    return torch.gather(x, 1, index), query, key, value


def forward(
    self,
    x: Tensor,  # [B, Q, H]
    past: List[Tensor],
    at: int,  # where in `past` this layer's key lies; its value comes next
    bias: Optional[Tensor],  # [B or 1, 1, K, S]: 0 where a query may look, else -inf
    causal: bool,
    queries: Optional[Tensor],  # [B, K]; none: all Q
) -> Tuple[Tensor, Tensor, Tensor]:
    batch = x.size(0)
    x, query, key, value = self.asked_query_key_value(x, queries)
    key = self.with_past(past, at, key, batch)
    value = self.with_past(past, at + 1, value, batch)
    mixed = self.attend(self.split_heads(query, batch), key, value, bias, causal)
    return self.finish(x, mixed), key, value


def forward_behind(
    self,
    x: Tensor,  # [B, Q, H]
    past: List[Tensor],  # each [M, heads, P, H / heads]
    at: int,
    owners: Optional[Tensor],  # [B]
    bias: Optional[Tensor],  # [B or 1, 1, K, P + Q]
    queries: Optional[Tensor],  # [B, K]
) -> Tuple[Tensor, Tensor, Tensor]:
    batch = x.size(0)
    x, query, key, value = self.asked_query_key_value(x, queries)
    own_key = self.split_heads(key, batch)
    own_value = self.split_heads(value, batch)
    query = self.split_heads(query, batch)
    mixed = self.attended_behind(
        query, past[at], past[at + 1], owners, own_key, own_value, bias
    )
    return self.finish(x, mixed.flatten(0, 1)), own_key, own_value


def forward_with_prefixes(
    self,
    x: Tensor,  # [K * P + B * Q, H]: the prefixes, then the rows, one after the other
    K: int,
    P: int,
    batch: int,
    owners: Optional[Tensor],  # [B]
    bias: Optional[Tensor],  # [B or 1, 1, asked or Q, P + Q]
    asked: Optional[Tensor],  # [B * asked], into all of x: the queries; none: all, the prefixes' too
) -> Tensor:
    # As `forward` of the prefixes, and of the rows with their keys and values as their past, in one:
    # each product is of all positions. [K * P + B * Q, H], or [B * asked, H] with `asked`.
    size = x.size(1)
    parts = [K * P, x.size(0) - K * P]

    if asked is None:
        query, key, value = self.query_key_value(x)
    else:
        normed = torch.layer_norm(x, [size], self.ln_1.weight, self.ln_1.bias, self.eps)
        key, value = self.attn.c_attn.columns(normed, size, 3 * size).split(size, 1)
        query = self.attn.c_attn.columns(normed.index_select(0, asked), 0, size)
        x = x.index_select(0, asked)

    prefix_key, row_keys = key.split_with_sizes(parts)
    prefix_value, row_values = value.split_with_sizes(parts)
    before_key = self.split_heads(prefix_key, K)
    before_value = self.split_heads(prefix_value, K)
    row_query = query
    first: List[Tensor] = []  # the prefixes' own attention, where it is asked for
    if asked is None:
        prefix_query, row_query = query.split_with_sizes(parts)
        own = self.split_heads(prefix_query, K)
        first.append(self.attend(own, before_key, before_value, None, True))
    mixed = self.attended_behind(
        self.split_heads(row_query, batch),
        before_key,
        before_value,
        owners,
        self.split_heads(row_keys, batch),
        self.split_heads(row_values, batch),
        bias,
    ).flatten(0, 1)
    if len(first) > 0:
        mixed = torch.cat([first[0], mixed])
    return self.finish(x, mixed)


def decode_step(
    self,
    x: Tensor,  # [B, H]
    cache: List[Tensor],
    at: int,  # where in `cache` this layer's keys lie; its values come next
    rows: Tensor,  # int64 [B], 0..B - 1
    lengths: Tensor,  # int64 [B]
    bias: Tensor,  # [B, 1, 1, read]
) -> Tensor:
    batch = x.size(0)
    query, key, value = self.query_key_value(x)
    mixed = self.attended_slots(
        self.split_heads(query, batch),
        self.split_heads(key, batch),
        self.split_heads(value, batch),
        cache,
        at,
        rows,
        lengths,
        bias,
    )
    return self.finish(x, mixed.flatten(1))
