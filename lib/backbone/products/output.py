# The output matrix [N, H]: a tied one is the token embedding.


def logits(self, h: Tensor, rows: Optional[Tensor]) -> Tensor:
    # [M, H] -> [M, N], or [M, V] for V rows of the matrix
    weight = self.weight
    if rows is not None:
        weight = torch.index_select(weight, 0, rows)
    return torch.linear(h, weight)
