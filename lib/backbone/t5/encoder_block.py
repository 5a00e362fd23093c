# One block of T5's encoder. Children: layer.0 self-attention, layer.1 MLP.


def forward(self, x: Tensor, bias: Tensor) -> Tensor:
    nothing: List[Tensor] = []
    x, key, value = getattr(self.layer, "0").forward(x, bias, nothing, 0)
    return getattr(self.layer, "1").forward(x)
