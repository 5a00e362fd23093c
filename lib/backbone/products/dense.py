# A layer's product with its weights, [in, out] as the checkpoint has them. Children of blocks.


def product(self, x: Tensor) -> Tensor:
    # [M, in] -> [M, out]
    return torch.addmm(self.bias, x, self.weight)


def added(self, x: Tensor, residual: Tensor) -> Tensor:
    # [M, in], [.., out] of M rows -> [.., out]
    return residual + self.product(x).view_as(residual)


def normed(self, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    # of layer-normed [.., in], weight and bias [in] -> [M, out]
    rows = torch.layer_norm(x, [x.size(-1)], weight, bias, eps)
    return self.product(rows.view(-1, x.size(-1)))


def columns(self, x: Tensor, begin: int, end: int) -> Tensor:
    # the same of some of the outputs
    return torch.addmm(self.bias[begin:end], x, self.weight[:, begin:end])
