# T5 as an encoder-decoder backbone: docs/backbone-contract.md. Children are named as in the Hugging
# Face checkpoint: shared, encoder, decoder, and lm_head where the output matrix is separate.
# B batch, S encoder positions, Q decoder positions run now, H hidden size, D a head's size.
# t5.ts repeats the marked sections for each block, with its number for LAYER, and puts the output
# matrix's owner for OUTPUT.


def embed(self, ids: Tensor) -> Tensor:
    # [B, T] -> [B, T, H]
    return torch.embedding(self.shared.weight, ids)


def head(self, h: Tensor, rows: Optional[Tensor]) -> Tensor:
    # [M, H] -> [M, N], or [M, V] for V rows of the output matrix
    return self.OUTPUT.logits(h * self.output_scale, rows)


def relative_bias(
    self, weight: Tensor, distance: Tensor, two_sided: bool, log_span: float
) -> Tensor:
    # [.., heads] of distances from a query to a key [..]: near ones have a bucket each, far ones share them
    # logarithmically, all beyond max_distance one (Raffel et al. 2020, section 2.1; transformers'
    # T5Attention._relative_position_bucket). The logarithm is float32 in every model, as there: the
    # buckets' limits depend on its rounding. log_span is the logarithm of max_distance / exact.
    buckets = self.buckets
    bucket = torch.zeros_like(distance)
    if two_sided:
        buckets = buckets // 2
        bucket = (distance > 0).to(distance.dtype) * buckets
        distance = distance.abs()
    else:
        distance = -torch.clamp(distance, max=0)
    exact = buckets // 2
    far = torch.log(distance / exact) / log_span * (buckets - exact)
    far_bucket = torch.clamp(exact + far.to(distance.dtype), max=buckets - 1)
    bucket = bucket + torch.where(distance < exact, distance, far_bucket)
    return torch.embedding(weight, bucket)


def distances(self, past: int, length: int, like: Tensor) -> Tensor:
    # int64 [Q, past + Q], key minus query
    keys = torch.arange(past + length, device=like.device)
    return keys.unsqueeze(0) - keys[past:].unsqueeze(1)


def padding_bias(self, mask: Tensor, like: Tensor) -> Tensor:
    # bool [B, S] -> [B, 1, 1, S] in the dtype of `like`, 0 where a key may be attended to, else -inf
    bias = torch.zeros_like(mask, dtype=like.dtype)
    return bias.masked_fill_(mask.logical_not(), float("-inf")).unsqueeze(1).unsqueeze(1)


def encode(
    self,
    x: Tensor,  # [B, S, H]
    mask: Optional[Tensor],  # [B, S]
    first: int,
    last: int,
) -> Tensor:
    # [B, S, H]
    first_layer = getattr(getattr(self.encoder.block, "0").layer, "0")
    weight = first_layer.SelfAttention.relative_attention_bias.weight
    distance = self.distances(0, x.size(1), x)
    bias = self.relative_bias(weight, distance, True, self.encoder_log_span)
    bias = bias.permute(2, 0, 1).unsqueeze(0)  # [1, heads, S, S]
    if mask is not None:
        bias = bias + self.padding_bias(mask, bias)
    # repeat encoder
    if first <= LAYER and LAYER < last:
        x = getattr(self.encoder.block, "LAYER").forward(x, bias)
    # end
    if last == self.encoder_layers:
        x = self.encoder.norm(x)
    return x


def cross_key_values(self, encoded: Tensor) -> List[Tensor]:
    # [B, S, H] -> k, v of each decoder block: [B, heads, S, D]
    cross: List[Tensor] = []
    # repeat decoder
    key, value = getattr(self.decoder.block, "LAYER").key_value(encoded)
    cross.append(key)
    cross.append(value)
    # end
    return cross


def decoder_bias(self, x: Tensor, past: List[Tensor]) -> Tensor:
    # [1, heads, Q, past + Q]: of relative positions; -inf where a query may not look
    past_length = 0
    if len(past) > 0:
        past_length = past[0].size(2)
    first_layer = getattr(getattr(self.decoder.block, "0").layer, "0")
    weight = first_layer.SelfAttention.relative_attention_bias.weight
    distance = self.distances(past_length, x.size(1), x)
    bias = self.relative_bias(weight, distance, False, self.decoder_log_span)
    bias = bias.permute(2, 0, 1).unsqueeze(0)
    if x.size(1) > 1:
        seen = torch.arange(past_length + x.size(1), device=x.device)
        later = seen.unsqueeze(0) > seen[past_length:].unsqueeze(1)
        bias = bias.masked_fill(later, float("-inf"))
    return bias


def decode(
    self,
    x: Tensor,  # [B, Q, H]
    past: List[Tensor],  # k, v of each block that runs: [B or 1, heads, past, D]
    cross: List[Tensor],  # k, v of all blocks: [B or 1, heads, S, D]
    cross_mask: Optional[Tensor],  # [B, S]
    first: int,
    last: int,
) -> Tuple[Tensor, List[Tensor]]:
    bias = self.decoder_bias(x, past)
    cross_bias: Optional[Tensor] = None
    if cross_mask is not None:
        cross_bias = self.padding_bias(cross_mask, bias)

    present: List[Tensor] = []
    # repeat decoder
    if first <= LAYER and LAYER < last:
        x, key, value = getattr(self.decoder.block, "LAYER").forward(
            x, bias, past, 2 * (LAYER - first), cross[2 * LAYER], cross[2 * LAYER + 1], cross_bias
        )
        present.append(key)
        present.append(value)
    # end
    if last == self.decoder_layers:
        x = self.decoder.norm(x)
    return x, present


def decode_encoded(
    self,
    x: Tensor,  # [B, Q, H]
    past: List[Tensor],  # k, v of each block: [B or 1, heads, past, D]
    encoded: Tensor,  # [B, S, H]
    cross_mask: Optional[Tensor],  # [B, S]
) -> Tensor:
    # All blocks, without keys and values of the encoder's output: [B, Q, H]
    bias = self.decoder_bias(x, past)
    cross_bias: Optional[Tensor] = None
    if cross_mask is not None:
        cross_bias = self.padding_bias(cross_mask, bias)
    # repeat decoder
    x = getattr(self.decoder.block, "LAYER").forward_encoded(
        x, bias, past, 2 * LAYER, encoded, cross_bias
    )
    # end
    return self.decoder.norm(x)


def decode_step(
    self,
    x: Tensor,  # [B, 1, H]: each row's newest token
    cache: List[Tensor],  # k, v of each block: [slots, heads, capacity, D]; row b's slot is b
    lengths: Tensor,  # int64 [B]: keys and values that a row has in its slot
    read: int,  # keys that are read of a slot: more than any row has
    cross: List[Tensor],  # k, v of each block: [slots, heads, cross capacity, D]
    cross_lengths: Tensor,  # int64 [B]: what a row's text gave of them
    cross_read: int,  # of which so many are read: as many as any row has
) -> Tensor:
    # Puts each row's key and value behind those that it has: [B, H], after the final norm
    batch = x.size(0)
    rows = torch.arange(batch, device=x.device)
    distance = torch.arange(read, device=x.device).unsqueeze(0) - lengths.unsqueeze(1)
    first_layer = getattr(getattr(self.decoder.block, "0").layer, "0")
    weight = first_layer.SelfAttention.relative_attention_bias.weight
    bias = self.relative_bias(weight, distance, False, self.decoder_log_span)  # [B, read, heads]
    bias = bias.masked_fill((distance > 0).unsqueeze(2), float("-inf"))
    bias = bias.permute(0, 2, 1).unsqueeze(2)
    places = torch.arange(cross_read, device=x.device).unsqueeze(0)
    cross_bias = self.padding_bias(places < cross_lengths.unsqueeze(1), bias)
    # repeat decoder
    x = getattr(self.decoder.block, "LAYER").decode_step(
        x,
        bias,
        cache,
        2 * LAYER,
        rows,
        lengths,
        cross[2 * LAYER][:batch, :, :cross_read],
        cross[2 * LAYER + 1][:batch, :, :cross_read],
        cross_bias,
    )
    # end
    return self.decoder.norm(x).squeeze(1)
