// One run: a method trained on a task with one learning rate and seed, and its figures; and the two
// baselines that need no training. Knows no table and no grid.

import { createPrompt, evaluate, evaluateMajority, train } from '../../dist/index.js'
import { LENGTH, RANK } from './settings.mjs'

/**
 * @param options.keep is given the trained prompt before it is disposed of
 * @returns the cell's figures, as JSON
 */
export async function runCell(
  cell,
  { backbone, task, training, onEvent = () => {}, keep = async () => {} },
) {
  const { method, learningRate, seed } = cell
  const prompt = createPrompt(backbone, { method, length: LENGTH, rank: RANK, seed })
  const { trainableParameters } = prompt
  try {
    let done
    for await (const event of train({
      ...training,
      backbone,
      prompt,
      task,
      learningRate,
      seed,
    })) {
      onEvent(event)
      if (event.type === 'done') done = event
    }
    await keep(prompt)
    return {
      ...cell,
      trainableParameters,
      seconds: done.seconds,
      bestStep: done.bestStep,
      dev: { accuracy: done.accuracy, macroF1: done.macroF1 },
      test: await testFigures({ backbone, prompt, task }),
    }
  } catch (error) {
    // A learning rate that is too high is a result too.
    if (error.code !== 'ERR_NON_FINITE_LOSS') throw error
    const none = { accuracy: 0, macroF1: 0 }
    return { ...cell, trainableParameters, seconds: 0, diverged: true, dev: none }
  } finally {
    prompt.dispose()
  }
}

/** The template alone, without a prompt. */
export async function hardPrompt({ backbone, task, training }) {
  const started = performance.now()
  const test = await testFigures({
    backbone,
    prompt: null,
    task,
    maxLength: training.maxLength,
  })
  return { trainableParameters: 0, seconds: (performance.now() - started) / 1000, test }
}

/** Always the training rows' most frequent label. */
export function majority(task) {
  const { accuracy, macroF1 } = evaluateMajority(task)
  return { trainableParameters: 0, seconds: 0, test: { accuracy, macroF1 } }
}

async function testFigures(options) {
  const { accuracy, macroF1, predictions } = await evaluate({ ...options, split: 'test' })
  // Which rows were right, a character each: what a paired comparison needs.
  const right = predictions.map((label, i) =>
    label === options.task.test[i].label ? '1' : '0',
  )
  return { accuracy, macroF1, right: right.join('') }
}
