# A layer's product with its weights, [in, out] as the checkpoint has them. Children of blocks.


def product(self, x: Tensor) -> Tensor:
    # [M, in] -> [M, out]
    return torch.addmm(self.bias, x, self.weight)


def columns(self, x: Tensor, begin: int, end: int) -> Tensor:
    # the same of some of the outputs
    return torch.addmm(self.bias[begin:end], x, self.weight[:, begin:end])
