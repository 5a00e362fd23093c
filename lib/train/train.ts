// The training loop: rows -> loss -> gradients of what is learned -> the optimizer's step. Knows no terminal and no HTTP:
// they consume its events.

import type { TrainEvent } from '../run/index.js'
import type { TrainOptions } from './options.js'
import { Training } from './training.js'

/**
 * Trains a prompt on a frozen backbone, or several in one pass, or weights of the backbone itself, and yields what
 * happens. At the end each is the best that evaluation on dev saw: by the task's metric, then by the lower loss.
 *
 * Leaving the loop early (`break`) ends the training and keeps the best.
 *
 * @example
 * const prompts = [0.03, 0.1, 0.3].map((learningRate) => ({ prompt: createPrompt(backbone), learningRate }))
 * for await (const event of train({ backbone, prompts, task })) {
 *   if (event.type === 'done') console.log(event.prompt, event.accuracy)
 * }
 *
 * @throws TypeError or RangeError for options that do not fit; LoptError `ERR_NON_FINITE_LOSS`
 *   naming the step, the prompt then being the best so far or the last good one (of several: once all have failed, see
 *   the event `failed`); `ERR_ABORTED` after an abort, saying where what was learned was saved; `ERR_PROMPT_FILE` for
 *   a prompt of another backbone; `ERR_IO` for the run folder.
 */
export function train(
  options: TrainOptions & { prompts: NonNullable<TrainOptions['prompts']> },
): AsyncGenerator<TrainEvent & { readonly prompt: number }>
export function train(options: TrainOptions): AsyncGenerator<TrainEvent>
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent> {
  const training = await Training.prepare(options)
  let failure: unknown
  try {
    yield* training.begin()
    while (training.isOpen) {
      await training.stopIfAborted()
      yield* training.step()
      yield* training.evaluate()
      yield* training.endStep()
    }
    yield* training.finish()
  } catch (error) {
    failure = error
    throw error
  } finally {
    await training.close(failure)
  }
}
