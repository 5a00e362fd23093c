# What T5's self-attention makes of its input. Children: SelfAttention.{q, k, v}; `norm` of norm.py.


def projected(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    # [.., H] -> three of [.., heads * D]
    normed = self.norm(x)
    query = self.SelfAttention.q.product(normed)
    return query, self.SelfAttention.k.product(normed), self.SelfAttention.v.product(normed)
