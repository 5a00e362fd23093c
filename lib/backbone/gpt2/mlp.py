# The MLP of one block of GPT-2. Children: c_fc, c_proj.
# gpt2.ts puts the activation's expression in the place of ACTIVATION(hidden).


def added(self, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    # x + MLP(layer norm of x), each [.., H]; weight and bias [H] of the norm
    hidden = self.c_fc.normed(x, weight, bias, eps)
    hidden = ACTIVATION(hidden)
    return self.c_proj.added(hidden, x)
