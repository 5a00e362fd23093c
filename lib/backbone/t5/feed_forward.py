# The MLP of one T5 block. Children: DenseReluDense.{wi, wo} or, gated, {wi_0, wi_1, wo}; layer_norm.
# t5.ts puts the expression that takes `normed` to the inner layer in the place of INNER(normed).


def forward(self, x: Tensor) -> Tensor:
    # [B, Q, H]
    normed = self.norm(x)
    hidden = INNER(normed)
    # A float16 model keeps `wo` in float32, as transformers does: its output goes beyond 65504
    # (transformers issue 20287). From the first block on, the residual stream is then float32.
    return self.DenseReluDense.wo.added(hidden, x)
