// What people read of a training run: its start, its evaluations and its result. Knows the events of
// `train` and no option.

import {
  evaluateMajority,
  type Prompt,
  type Reuse,
  type Task,
  type TrainEvent,
  type TrainOptions,
} from '../index.js'
import { figuresOf } from '../run/index.js'
import {
  count,
  duration,
  figureCells,
  figureNames,
  majorityFigures,
  type Output,
  percent,
  table,
} from './output.js'

type EventOf<Type extends TrainEvent['type']> = Extract<TrainEvent, { type: Type }>

/** What is trained, and on what, before the first step. */
export function sayStart(
  output: Output,
  event: EventOf<'start'>,
  { backbone, prompt, weights, task, seed = 0 }: TrainOptions,
): void {
  const { config, dtype, device } = backbone
  const held = event.heldOut === 0 ? '' : `, held out of --data by seed ${seed}`
  const what = prompt ? shapeText(prompt) : `weights that match ${weights?.pattern}`
  const lines = [
    ['backbone', `${backbone.source} (${config.layers} layers, ${dtype}, ${device})`],
    [
      prompt ? 'prompt' : 'model',
      `${what}: ${count(event.trainableParameters)} trainable parameters`,
    ],
    task.target ? ['answers', answersText(task.target)] : ['labels', labelsText(task)],
    [
      'train rows',
      `${count(event.trainRows)}, ${count(event.truncated)} of them cut to fit` +
        (event.truncatedTargets ? `, ${count(event.truncatedTargets)} targets too` : ''),
    ],
    ['eval rows', `${count(event.devRows)}${held}`],
    ['learning rate', String(event.learningRate)],
    ...(event.resumedFrom === undefined
      ? []
      : [['goes on', `behind step ${event.resumedFrom} of ${event.steps}`]]),
    ...(event.reuse ? [['kept texts', reuseText(event.reuse)]] : []),
  ]
  for (const line of table(lines).split('\n')) output.note(line)
}

function reuseText({ hitRate, bytes }: Reuse): string {
  const size = `${count(Math.ceil(bytes / 2 ** 20))} MiB of keys and values`
  return `${percent(hitRate)} of the train rows are computed once, ${size}`
}

function shapeText({ config }: Prompt): string {
  const { length, rank, hiddenSize, method } = config
  const shape = `${length} x ${hiddenSize}`
  return rank > 0 ? `${method}, ${shape}, rank ${rank}` : `${method}, ${shape}`
}

function labelsText({ verbalizer }: Task): string {
  return Object.entries(verbalizer)
    .map(([label, words]) => (label === words ? label : `${label} (${words})`))
    .join(', ')
}

function answersText({ template, end }: NonNullable<Task['target']>): string {
  return `${template ?? '{target}'}${end ? ', to the end of a text' : ''}`
}

/** An evaluation in one line. */
export function evaluationLine({
  step,
  loss,
  best,
  samples: _,
  ...figures
}: EventOf<'eval'>): string {
  const mark = best ? '  best so far' : ''
  const cells = figureCells(figures)
  const named = figureNames(figures).map((name, i) => `${name} ${cells[i]}`)
  return `eval at step ${step}: ${named.join(', ')}, loss ${loss.toFixed(4)}${mark}`
}

/** The table at the end, and where the files are. */
export function printResult(
  output: Output,
  event: EventOf<'done'>,
  { prompt, weights, task, out }: TrainOptions,
): void {
  const { bestStep, steps, seconds } = event
  const figures = Object.keys(figuresOf(event)).length > 0 ? event : undefined
  const names = figures ? figureNames(figures) : [task.target ? 'perplexity' : 'accuracy']
  const majority = figures && evaluateMajority(task, 'dev')
  const rows = [['', 'parameters', ...names, 'step', 'time']]
  rows.push([
    prompt?.config.method ?? 'fine-tune',
    count(prompt?.trainableParameters ?? weights?.trainableParameters ?? 0),
    ...(figures ? figureCells(figures) : ['not evaluated']),
    `${bestStep}/${steps}`,
    duration(seconds),
  ])
  if (majority) rows.push(majorityFigures(majority))
  output.print(table(rows, [...(rows[0] ?? []).keys()].slice(1)))
  if (majority) {
    output.print(
      `"always ${majority.label}" gives every row the most frequent label of the training rows`,
    )
  }
  const name = prompt ? 'prompt:    ' : 'weights:   '
  output.print(`\n${name} ${event.path}\nrun folder: ${out}`)
}
