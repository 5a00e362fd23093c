# What T5's self-attention makes of its input with weights of 8 bits. Children: SelfAttention.{q, k, v}, layer_norm.


def projected(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    # [.., H] -> three of [.., heads * D]
    of = self.SelfAttention
    weights = [of.q.weight, of.k.weight, of.v.weight]
    scales = [of.q.scale, of.k.scale, of.v.scale]
    biases: List[Tensor] = []
    query, key, value = lopt.int8_normed(
        x, self.layer_norm.weight, None, self.eps, weights, scales, biases
    )
    return query, key, value
