# A layer's product with weights of 8 bits, [out, in], and a scale for each output.


def product(self, x: Tensor) -> Tensor:
    # [.., in] -> [.., out]
    return lopt.int8_linear(x, self.weight, self.scale, None)


def added(self, x: Tensor, residual: Tensor) -> Tensor:
    # [.., in], [.., out] -> [.., out]
    return lopt.int8_linear(x, self.weight, self.scale, None, residual)
