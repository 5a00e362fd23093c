# T5's layer norm: root mean square over H, no mean, no bias. Stands before each layer's source.


def norm(self, x: Tensor) -> Tensor:
    # [.., H], in the weight's dtype. A float16 model's residual stream is float32 (feed_forward.py).
    weight = self.layer_norm.weight
    size = [x.size(x.dim() - 1)]
    if x.dtype == weight.dtype:
        return torch.rms_norm(x, size, weight, self.eps)
    return torch.rms_norm(x, size, weight.to(x.dtype), self.eps).to(weight.dtype)
