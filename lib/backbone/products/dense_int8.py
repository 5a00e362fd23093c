# A layer's product with weights of 8 bits, [out, in], and a scale for each output.


def product(self, x: Tensor) -> Tensor:
    # [M, in] -> [M, out]
    return lopt.int8_linear(x, self.weight, self.scale, self.bias)


def added(self, x: Tensor, residual: Tensor) -> Tensor:
    # [M, in], [.., out] of M rows -> [.., out]
    return lopt.int8_linear(x, self.weight, self.scale, self.bias, residual).view_as(residual)


def normed(self, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    # of layer-normed [.., in], weight and bias [in] -> [M, out]
    product = lopt.int8_normed(
        x, weight, bias, eps, [self.weight], [self.scale], [self.bias]
    )
    return product[0].view(-1, self.weight.size(0))


def columns(self, x: Tensor, begin: int, end: int) -> Tensor:
    # the same of some of the outputs
    return lopt.int8_linear(
        x, self.weight[begin:end], self.scale[begin:end], self.bias[begin:end]
    )
