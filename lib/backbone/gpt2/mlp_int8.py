# The MLP of one block of GPT-2 with weights of 8 bits. Children: c_fc, c_proj.
# gpt2.ts puts the activation's name in the place of ACTIVATION.


def added(self, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    # x + MLP(layer norm of x), each [.., H]; weight and bias [H] of the norm
    inner = self.c_fc
    outer = self.c_proj
    return lopt.int8_mlp(
        x,
        weight,
        bias,
        eps,
        [inner.weight],
        [inner.scale],
        [inner.bias],
        "ACTIVATION",
        outer.weight,
        outer.scale,
        outer.bias,
    )
