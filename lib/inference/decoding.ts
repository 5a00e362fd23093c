// A text that is being continued: reads it once, then gives logits for what may follow, of several
// continuations at once. Knows how models keep what they have read, no rule of choosing.

import type {
  Backbone,
  CausalBackbone,
  EncoderDecoderBackbone,
} from '../backbone/index.js'
import type { Prompt } from '../prompt/index.js'
import { keep, noGrad, type Tensor, tensor, tidy } from '../torch/index.js'
import { assemble, pastOf } from './assemble.js'
import { makeCausalBatch, makeEncoderDecoderBatch } from './batch.js'
import { startAndEnd } from './encode.js'
import { batchOptions } from './label-hidden.js'
import { logitsOf } from './label-logits.js'
import { createPromptSet } from './prompt-set.js'

/** What one call computes: last hidden states [K, H], and the keys and values for the next. */
interface Read {
  hidden: Tensor
  present: readonly Tensor[]
}

/** How a kind of model reads. */
interface Reader {
  /** Everything from the beginning, for continuations of one length. */
  all(made: readonly (readonly number[])[]): Promise<Read>
  /** The newest token of each, the rest being in `past`. */
  newest(made: readonly (readonly number[])[], past: readonly Tensor[]): Promise<Read>
  dispose(): void
}

export class Decoding {
  readonly #backbone: Backbone
  readonly #reader: Reader
  readonly #cache: boolean
  #past: readonly Tensor[] = []

  constructor(backbone: Backbone, reader: Reader, cache: boolean) {
    this.#backbone = backbone
    this.#reader = reader
    this.#cache = cache
  }

  /**
   * Logits [K, N] of the token after each of K continuations of one length.
   *
   * @param parents which continuation of the call before each one grew from; the first call has one,
   *   empty continuation
   */
  async next(
    made: readonly (readonly number[])[],
    parents: readonly number[],
  ): Promise<Tensor> {
    const { logits, present } = await noGrad(() =>
      tidy(async () => {
        const read =
          this.#past.length > 0
            ? await this.#reader.newest(made, this.#grownFrom(parents))
            : await this.#reader.all(made)
        const logits = await logitsOf(this.#backbone, read.hidden)
        return { logits, present: this.#cache ? read.present : [] }
      }),
    )
    this.#forget()
    this.#past = present.map(keep)
    return logits
  }

  #grownFrom(parents: readonly number[]): readonly Tensor[] {
    const before = this.#past[0]?.shape[0]
    const same = parents.length === before && parents.every((parent, i) => parent === i)
    if (same) return this.#past
    const index = tensor([...parents], { dtype: 'int64', device: this.#backbone.device })
    return this.#past.map((kept) => kept.indexSelect(0, index))
  }

  #forget(): void {
    for (const tensor of this.#past) tensor.dispose()
  }

  dispose(): void {
    this.#forget()
    this.#reader.dispose()
  }
}

/**
 * @param given ids of the text, without what ends it
 * @param cache keep keys and values; without, everything is read again for each token
 */
export async function startDecoding(
  backbone: Backbone,
  prompt: Prompt | null,
  given: readonly number[],
  cache: boolean,
): Promise<Decoding> {
  const reader =
    backbone.kind === 'causal'
      ? causalReader(backbone, prompt, given)
      : await encoderDecoderReader(backbone, prompt, given)
  return new Decoding(backbone, reader, cache)
}

function causalReader(
  backbone: CausalBackbone,
  prompt: Prompt | null,
  given: readonly number[],
): Reader {
  const { device } = backbone
  const int64 = (values: number[][]) => tensor(values, { dtype: 'int64', device })
  return {
    async all(made) {
      // What was made stands where a label does: behind a suffix.
      const rows = made.map((ids) => ({ text: given, labels: [[...ids, 0]], prompt: 0 }))
      const set = createPromptSet(backbone, [prompt], { fastPaths: false })
      const batch = makeCausalBatch(rows, batchOptions(backbone, set))
      const prepared = await set.prepared
      const x = await assemble(backbone, prepared, batch)
      const last = (x.shape[1] as number) - 1
      const { hidden, present } = await backbone.run({
        x,
        positions: batch.positions,
        past: pastOf(prepared, batch.groups),
        queries: int64(rows.map(() => [last])),
      })
      return { hidden: hidden.select(1, 0), present }
    },
    async newest(made, past) {
      const at = (past[0] as Tensor).shape[2] as number
      const { hidden, present } = await backbone.run({
        x: await backbone.embed(int64(made.map((ids) => [ids.at(-1) as number]))),
        positions: int64(made.map(() => [at])),
        past,
      })
      return { hidden: hidden.select(1, 0), present }
    },
    dispose() {},
  }
}

/** The text is encoded here, once. */
async function encoderDecoderReader(
  backbone: EncoderDecoderBackbone,
  prompt: Prompt | null,
  given: readonly number[],
): Promise<Reader> {
  const ends = startAndEnd(backbone)
  const { cross, before } = await noGrad(() =>
    tidy(async () => {
      const set = createPromptSet(backbone, [prompt])
      const rows = [{ text: given, labels: [[ends.end]], prompt: 0 }]
      const { encoder } = makeEncoderDecoderBatch(rows, batchOptions(backbone, set), ends)
      const prepared = await set.prepared
      const x = await assemble(backbone, prepared, encoder)
      const encoded = await backbone.encode({ x })
      return {
        cross: await backbone.crossKeyValues(encoded),
        before: pastOf(prepared, encoder.groups),
      }
    }),
  )
  const kept = cross.map(keep)
  const first = before.map(keep)
  const decode = async (ids: number[][], past: readonly Tensor[]): Promise<Read> => {
    const x = await backbone.embed(
      tensor(ids, { dtype: 'int64', device: backbone.device }),
    )
    const { hidden, present } = await backbone.decode({ x, cross: kept, past })
    return { hidden: hidden.select(1, (ids[0] as number[]).length - 1), present }
  }
  return {
    all: (made) =>
      decode(
        made.map((ids) => [ends.start, ...ids]),
        first,
      ),
    newest: (made, past) =>
      decode(
        made.map((ids) => [ids.at(-1) as number]),
        past,
      ),
    dispose() {
      for (const tensor of [...kept, ...first]) tensor.dispose()
    },
  }
}
