# A layer's product with its weights, [out, in] as the checkpoint has them, without a bias. Children of blocks.


def product(self, x: Tensor) -> Tensor:
    # [.., in] -> [.., out]. A float16 T5 has float32 weights in one place (t5/feed_forward.py).
    return torch.linear(x.to(self.weight.dtype), self.weight)


def added(self, x: Tensor, residual: Tensor) -> Tensor:
    # [.., in], [.., out] -> [.., out]
    return residual + self.product(x)
