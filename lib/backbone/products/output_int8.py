# The output matrix [N, H] in 8 bits, with a scale for each row: a copy, where the token embedding is tied to it.


def logits(self, h: Tensor, rows: Optional[Tensor]) -> Tensor:
    # [M, H] -> [M, N], or [M, V] for V rows of the matrix
    weight = self.weight
    scale = self.scale
    if rows is not None:
        weight = torch.index_select(weight, 0, rows)
        scale = torch.index_select(scale, 0, rows)
    return lopt.int8_linear(h, weight, scale, None)
