// The command line of a pretraining script. Knows no model.

import { parseArgs } from 'node:util'

/**
 * @param script its path, for the usage text
 * @param defaults out, steps, batchSize, batchUnit, lr
 */
export function pretrainingOptions(script, defaults) {
  const { values } = parseArgs({
    options: {
      work: { type: 'string' },
      out: { type: 'string', default: defaults.out },
      steps: { type: 'string', default: String(defaults.steps) },
      'batch-size': { type: 'string', default: String(defaults.batchSize) },
      lr: { type: 'string', default: String(defaults.lr) },
      'checkpoint-minutes': { type: 'string', default: '5' },
      'stop-after-minutes': { type: 'string', default: '100000' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help || !values.work) {
    console.log(`usage: node ${script} --work FOLDER [options]
  --work FOLDER            corpus, checkpoints, log; goes on from what lies there
  --out FOLDER             where the finished model is written (${defaults.out})
  --steps N                steps in all; the last fifth lowers the learning rate (${defaults.steps})
  --batch-size N           ${defaults.batchUnit} a step (${defaults.batchSize})
  --lr X                   highest learning rate (${defaults.lr})
  --checkpoint-minutes N   how often to save (5)
  --stop-after-minutes N   save and stop then, to go on another time`)
    process.exit(values.help ? 0 : 2)
  }
  return {
    work: values.work,
    out: values.out,
    steps: Number(values.steps),
    batchSize: Number(values['batch-size']),
    peak: Number(values.lr),
    checkpointMinutes: Number(values['checkpoint-minutes']),
    stopAfterMinutes: Number(values['stop-after-minutes']),
  }
}
