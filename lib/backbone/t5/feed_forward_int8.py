# The MLP of one T5 block with weights of 8 bits. Children as in feed_forward.py.
# t5.ts puts names of the inner layer's children in the place of INNER, the activation's name in that of ACTIVATION.


def forward(self, x: Tensor) -> Tensor:
    # [B, Q, H]
    outer = self.DenseReluDense.wo
    inner = [INNER.weight]
    scales = [INNER.scale]
    biases: List[Tensor] = []
    return lopt.int8_mlp(
        x,
        self.layer_norm.weight,
        None,
        self.eps,
        inner,
        scales,
        biases,
        "ACTIVATION",
        outer.weight,
        outer.scale,
        None,
    )
