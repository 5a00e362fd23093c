# A layer's product with weights of 8 bits, [out, in], and a scale for each output.


def product(self, x: Tensor) -> Tensor:
    # [M, in] -> [M, out]
    return lopt.int8_linear(x, self.weight, self.scale, self.bias)


def columns(self, x: Tensor, begin: int, end: int) -> Tensor:
    # the same of some of the outputs
    return lopt.int8_linear(
        x, self.weight[begin:end], self.scale[begin:end], self.bias[begin:end]
    )
