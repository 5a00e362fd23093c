// Rows of token ids -> the tensors of a batch that runs behind its texts: [prompt | label], with the
// texts themselves given as keys and values. Knows lengths and ids, no model.

import { type Tensor, tensor } from '../torch/index.js'
import type { Row } from './batch.js'

/**
 * One row for each label of each text: B rows, K label tokens of the longest label, T tokens of the
 * longest text, Q = P + K - 1 positions that run. The texts' keys and values are right-padded to T.
 */
export interface SuffixBatch {
  /** The text that each row stands behind. */
  readonly texts: readonly (readonly number[])[]
  /** int64 [B, K - 1]: label tokens that are read, right-padded; null where none is. */
  readonly ids: Tensor | null
  /** int64 [B, Q]: they go on from each text's own length. */
  readonly positions: Tensor
  /** bool [B, T + Q]: false where a text is padded; null where none is. */
  readonly mask: Tensor | null
  /** int64 [B, K]: where each label token is predicted; a shorter label repeats its last. */
  readonly queries: Tensor
  /** int64 [M]: which of the B * K queries are no repetition. */
  readonly asked: Tensor
  /** int64 [M]: the label tokens, row by row. */
  readonly targets: Tensor
}

export function makeSuffixBatch(
  rows: readonly Row[],
  { P, device }: { P: number; device: string },
): SuffixBatch {
  const pairs = rows.flatMap(({ text, labels }) =>
    labels.map((label) => ({ text, label })),
  )
  const T = Math.max(...pairs.map(({ text }) => text.length))
  const K = Math.max(...pairs.map(({ label }) => label.length))
  const Q = P + K - 1
  const range = (length: number, value: (j: number) => number) =>
    Array.from({ length }, (_, j) => value(j))
  const int64 = (values: number[] | number[][]) =>
    tensor(values, { dtype: 'int64', device })
  const isPadded = pairs.some(({ text }) => text.length < T)
  const mask = () =>
    tensor(
      pairs.map(({ text }) => range(T + Q, (j) => Number(j < text.length || j >= T))),
      { dtype: 'bool', device },
    )
  return {
    texts: pairs.map(({ text }) => text),
    // A label's last token is predicted, never read; what pads comes behind what is asked.
    ids:
      K === 1
        ? null
        : int64(
            pairs.map(({ label }) =>
              range(K - 1, (j) => (j < label.length - 1 ? (label[j] as number) : 0)),
            ),
          ),
    positions: int64(
      pairs.map(({ text, label }) =>
        // A padding position's place does not matter, but it must be one that the model has.
        range(Q, (j) => text.length + Math.min(j, P + label.length - 2)),
      ),
    ),
    mask: isPadded ? mask() : null,
    queries: int64(
      pairs.map(({ label }) => range(K, (j) => P - 1 + Math.min(j, label.length - 1))),
    ),
    asked: int64(pairs.flatMap(({ label }, i) => label.map((_, j) => i * K + j))),
    targets: int64(pairs.flatMap(({ label }) => [...label])),
  }
}
