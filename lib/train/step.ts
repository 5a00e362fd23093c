// One step's gradients, in two halves: rows become tensors first, and wait there for their turn, while another
// step is still computed. Knows no optimizer and no event.

import type { Backbone } from '../backbone/index.js'
import {
  backward,
  Inputs,
  type PromptLayout,
  type PromptSetOptions,
  passTokens,
  pendingPromptSet,
  preparePrompts,
  rowTokens,
  type StepGraphs,
  type Waiting,
  withRoom,
} from '../inference/index.js'
import type { TrainSettings } from '../run/index.js'
import type { LabelTokens } from '../task/index.js'
import { clipGradNorm, stack, type Tensor, tidy } from '../torch/index.js'
import type { Learner } from './learner.js'
import { type LossSettings, type TrainingRow, trainingLosses, weightOf } from './loss.js'
import type { Profiler } from './profile.js'

/** What the steps of a run have in common. */
export interface StepParts {
  readonly backbone: Backbone
  readonly labels: LabelTokens
  /** How prompts are run with their rows. */
  readonly run: PromptSetOptions
  readonly accumulate: number
  readonly profiler: Profiler
  /** Where steps are captured. */
  readonly graphs: StepGraphs | null
}

/** What learns from a step, and the rows that it learns from. */
export interface StepTrainee {
  readonly learner: Learner
  readonly layout: PromptLayout
  readonly settings: LossSettings & Pick<TrainSettings, 'clip'>
  readonly batch: readonly TrainingRow[]
  /** Changes it by its gradients; a captured step does so before anybody knows whether all `isGood`, bool []. */
  readonly update: (isGood?: Tensor<'bool'>) => Promise<void>
}

/** Of one trainee's batch. */
export interface StepResult {
  /** The batch's mean, before the step; nats a row or a token. */
  readonly loss: number
  /** Norm of all gradients together, before clipping. */
  readonly gradNorm: number
}

export interface BegunStep {
  /**
   * Computes each trainee's mean loss and clipped gradients, and updates those whose both are finite. A step that is
   * captured is launched, and a GPU is at work on it.
   *
   * @returns what waits for the results, once
   */
  run(): Promise<() => Promise<StepResult[]>>
  /** Settles once gradients are being computed, of the first pass where there are several. */
  readonly backwardAsked: Promise<void>
  /** In place of `run`: frees the tensors. */
  cancel(): Promise<void>
}

/** Rows of a trainee that are run at once, and their share of its batch. */
interface Piece {
  readonly trainee: StepTrainee
  /** Its place among the step's trainees. */
  readonly place: number
  readonly rows: readonly TrainingRow[]
  readonly share: number
}

/** Pieces that go through the backbone together. */
interface Pass {
  readonly pieces: readonly Piece[]
  readonly layouts: readonly PromptLayout[]
  readonly losses: Waiting<Tensor[]>
}

/** Makes the batches' own tensors. What else a step does waits for `run`. */
export function beginStep(trainees: readonly StepTrainee[], parts: StepParts): BegunStep {
  const start = deferred<void>()
  const asked = deferred<void>()
  const result = tidy(async () => {
    const { graphs, backbone } = parts
    const inputs = new Inputs(backbone.device, { bucketed: graphs !== null })
    const passes = passesOf(trainees, parts).map((pieces) =>
      placed(pieces, inputs, parts),
    )
    await start.promise
    if (graphs === null) {
      const computed = await computedBy(passes, trainees, asked.resolve, parts)
      const results = await resultsOf(passes, await readAll(computed))
      const good = trainees.filter((_, i) => isSound(results[i] as StepResult))
      await parts.profiler.phase('optimizer', () =>
        Promise.all(good.map(({ update }) => update())),
      )
      return async () => results
    }
    asked.resolve()
    await withRoom(backbone.device, () => inputs.bring(parts.run.textStore))
    for (const { learner } of trainees) inputs.note(nameOf(learner))
    let isUpdated = false
    const work = async () => {
      isUpdated = false
      const computed = await computedBy(passes, trainees, () => {}, parts)
      const good = goodOf(passes, computed)
      isUpdated = true
      await Promise.all(trainees.map(({ update }, i) => update(good[i])))
      return [stack(computed.norms), stack(computed.means)]
    }
    // Gradients add up, those of a capture that failed too: a step begins without any. What was updated cannot be taken back.
    const restart = async (wasComputed: boolean) => {
      if (wasComputed && isUpdated) return false
      await Promise.all(trainees.map(zeroGradients))
      return true
    }
    const [norms, means] = await graphs.run(inputs, work, { restart })
    // Begun before another step is launched, which overwrites them.
    const reads = await Promise.all(
      [norms as Tensor, means as Tensor].map((one) => one.startRead()),
    )
    return async () => {
      const read = await Promise.all(
        reads.map(async (finish) => Array.from(await finish(), Number)),
      )
      return resultsOf(passes, { norms: read[0] ?? [], means: read[1] ?? [] })
    }
  })
  // Whoever runs the step is told; nobody may.
  result.catch(() => {})
  start.promise.catch(() => {})
  return {
    run() {
      start.resolve()
      return result
    },
    backwardAsked: asked.promise,
    async cancel() {
      start.reject(new Error('The step was cancelled'))
      await result.catch(() => {})
    },
  }
}

/** Of each trainee the norm, and of each piece of each pass the mean. */
interface Computed<T> {
  readonly norms: readonly T[]
  readonly means: readonly T[]
}

async function computedBy(
  passes: readonly Pass[],
  trainees: readonly StepTrainee[],
  onBackward: () => void,
  parts: StepParts,
): Promise<Computed<Tensor>> {
  const means: Tensor[] = []
  for (const pass of passes) means.push(...(await meansOf(pass, onBackward, parts)))
  const norms = await parts.profiler.phase('optimizer', () =>
    Promise.all(trainees.map(clippedNorm)),
  )
  return { norms, means }
}

/** Read once all is asked for: a value read between two passes would stall a GPU there. */
async function readAll({ norms, means }: Computed<Tensor>): Promise<Computed<number>> {
  const values = (await Promise.all([...norms, ...means].map(numbersOf))).flat()
  return { norms: values.slice(0, norms.length), means: values.slice(norms.length) }
}

async function numbersOf(tensor: Tensor): Promise<number[]> {
  return Array.from((await tensor.read()) as Float32Array)
}

/** The place of the trainee that each mean is of, and how much of its batch. */
function piecesOf(passes: readonly Pass[]): Piece[] {
  return passes.flatMap(({ pieces }) => pieces)
}

function resultsOf(
  passes: readonly Pass[],
  { norms, means }: Computed<number>,
): StepResult[] {
  const losses = norms.map(() => 0)
  piecesOf(passes).forEach(({ place, share }, i) => {
    losses[place] = (losses[place] as number) + share * (means[i] as number)
  })
  return losses.map((loss, i) => ({ loss, gradNorm: norms[i] as number }))
}

function isSound({ loss, gradNorm }: StepResult): boolean {
  return Number.isFinite(loss) && Number.isFinite(gradNorm)
}

/** bool [] of each trainee: whether its norm, and all its means, are finite. */
function goodOf(
  passes: readonly Pass[],
  { norms, means }: Computed<Tensor>,
): Tensor<'bool'>[] {
  const pieces = piecesOf(passes)
  return norms.map((norm, i) =>
    means
      .filter((_, n) => pieces[n]?.place === i)
      .reduce<Tensor<'bool'>>(
        (good, mean) => good.logicalAnd(mean.isfinite()),
        norm.isfinite(),
      ),
  )
}

const names = new WeakMap<Learner, string>()
let named = 0

/** A captured step changes the tensors that it was captured with. */
function nameOf(learner: Learner): string {
  const name = names.get(learner) ?? `learner ${named++}`
  names.set(learner, name)
  return name
}

async function zeroGradients({ learner }: StepTrainee): Promise<void> {
  const parameters = Object.values(learner.parameters)
  await Promise.all(parameters.map((one) => one.zeroGrad()))
}

function clippedNorm({ learner, settings }: StepTrainee): Promise<Tensor> {
  const parameters = Object.values(learner.parameters)
  return clipGradNorm(parameters, settings.clip || Number.POSITIVE_INFINITY)
}

/**
 * What goes through the backbone together: of each part of the batches the rows of all trainees with one objective, but
 * not more at once than pays, nor more than one trainee's where batches are run in parts to save memory.
 */
function passesOf(
  trainees: readonly StepTrainee[],
  { accumulate, backbone }: StepParts,
): Piece[][] {
  const passes: Piece[][] = []
  const pieces = trainees.flatMap((trainee, place) =>
    split(trainee.batch, accumulate).map((rows, part) => {
      const { meanOver } = trainee.settings
      const share = weightOf(rows, meanOver) / weightOf(trainee.batch, meanOver)
      return { part, piece: { trainee, place, rows, share } }
    }),
  )
  const most = accumulate > 1 ? 0 : passTokens(backbone)
  const open = new Map<string, { pass: Piece[]; tokens: number }>()
  for (const { part, piece } of pieces) {
    const key = `${part} ${piece.trainee.settings.objective}`
    const tokens = tokensOf(piece, backbone)
    const last = open.get(key)
    if (last !== undefined && last.tokens + tokens <= most) {
      last.pass.push(piece)
      last.tokens += tokens
    } else {
      const pass = [piece]
      passes.push(pass)
      open.set(key, { pass, tokens })
    }
  }
  return passes
}

/** How much is run for a piece, about. */
function tokensOf({ trainee: { layout }, rows }: Piece, backbone: Backbone): number {
  const longest = Math.max(...rows.map(({ length }) => length))
  const { P, shared } = layout.place
  return rows.length * rowTokens(backbone, layout, longest) + (shared ? P : 0)
}

/** The rows of a pass as tensors. */
function placed(
  pieces: readonly Piece[],
  inputs: Inputs,
  { backbone, labels }: StepParts,
): Pass {
  const layouts = pieces.map(({ trainee }) => trainee.layout)
  const batches = pieces.map(({ rows }) => rows)
  const settings = pieces[0]?.trainee.settings as LossSettings
  const losses = trainingLosses(settings, backbone, layouts, batches, labels, inputs)
  inputs.note(`shares ${pieces.map(({ share }) => share).join()}`)
  return { pieces, layouts, losses }
}

/**
 * Of each piece of a pass the mean loss of its rows, []; `share` times its gradients are added to
 * the parameters' own. In a scope of its own: a pass's tensors, but those of its rows, are freed before the next
 * pass's are made.
 */
async function meansOf(
  { pieces, layouts, losses }: Pass,
  onBackward: () => void,
  { backbone, run, profiler }: StepParts,
): Promise<Tensor[]> {
  return await tidy(async () => {
    const prompts = pieces.map(({ trainee }) => trainee.learner.prompt)
    const prepared = await profiler.phase('prompt', () =>
      preparePrompts(backbone, prompts, layouts),
    )
    const set = pendingPromptSet(layouts, Promise.resolve(prepared), run)
    const means = await profiler.phase('loss', () => losses(set))
    const shares = means.map((mean, i) => mean.mul(pieces[i]?.share as number))
    // Each loss depends on its own prompt alone: the gradients of their sum are each one's own.
    const sum = shares.reduce((a, b) => a.add(b))
    const done = profiler.phase('backward', () => backward(set, sum))
    onBackward()
    await done
    return means.map((mean) => mean.detach())
  })
}

function split<T>(batch: readonly T[], count: number): T[][] {
  const size = Math.ceil(batch.length / count)
  return Array.from({ length: Math.ceil(batch.length / size) }, (_, i) =>
    batch.slice(i * size, (i + 1) * size),
  )
}

function deferred<T>() {
  let resolve!: (value: T | PromiseLike<T>) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue
    reject = onError
  })
  return { promise, resolve, reject }
}
