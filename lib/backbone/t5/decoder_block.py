# One block of T5's decoder. Children: layer.0 self-attention, layer.1 attention to the encoder's
# output, layer.2 MLP.


def key_value(self, encoded: Tensor) -> Tuple[Tensor, Tensor]:
    return getattr(self.layer, "1").key_value(encoded)


def forward(
    self,
    x: Tensor,
    bias: Tensor,
    past: List[Tensor],
    at: int,
    cross_key: Tensor,
    cross_value: Tensor,
    cross_bias: Optional[Tensor],
) -> Tuple[Tensor, Tensor, Tensor]:
    x, key, value = getattr(self.layer, "0").forward(x, bias, past, at)
    x = getattr(self.layer, "1").forward(x, cross_key, cross_value, cross_bias)
    return getattr(self.layer, "2").forward(x), key, value


def forward_encoded(
    self,
    x: Tensor,
    bias: Tensor,
    past: List[Tensor],
    at: int,
    encoded: Tensor,
    cross_bias: Optional[Tensor],
) -> Tensor:
    x, key, value = getattr(self.layer, "0").forward(x, bias, past, at)
    x = getattr(self.layer, "1").forward_encoded(x, encoded, cross_bias)
    return getattr(self.layer, "2").forward(x)


def decode_step(
    self,
    x: Tensor,
    bias: Tensor,
    cache: List[Tensor],
    at: int,
    rows: Tensor,
    lengths: Tensor,
    cross_key: Tensor,
    cross_value: Tensor,
    cross_bias: Tensor,
) -> Tensor:
    x = getattr(self.layer, "0").decode_step(x, bias, cache, at, rows, lengths)
    x = getattr(self.layer, "1").forward(x, cross_key, cross_value, cross_bias)
    return getattr(self.layer, "2").forward(x)
