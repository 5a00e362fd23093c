// The model and its prompts, as the server lists them.

import { askJson } from './api.js'

/** Names in a template's braces, each once; doubled braces are braces. */
export function fieldsOf(template) {
  const found = template.matchAll(/\{\{|\}\}|\{([^{}\r\n]*)\}/g)
  return [...new Set(Array.from(found, ([, name]) => name))].filter(
    (name) => name !== undefined,
  )
}

/** A template with its fields filled in. */
export function filled(template, values) {
  return template.replace(/\{\{|\}\}|\{([^{}\r\n]*)\}/g, (found, name) =>
    name === undefined ? found[0] : values[name],
  )
}

/** A prompt's method, size and task, in a line each. */
export function aboutOf({ method, length, rank, task }) {
  const size = `${method}, length ${length}${rank ? `, rank ${rank}` : ''}`
  if (!task) return [size, 'has no task']
  const { labels, template } = task
  const some = labels.slice(0, 6).join(', ')
  const more = labels.length > 6 ? `, and ${labels.length - 6} more` : ''
  return [size, labels.length === 0 ? template : some + more]
}

/** Whether it was trained to answer its template's fields with a text. */
export const answersFields = ({ task }) => task?.labels.length === 0

/** Whether a text can be given one of its labels. */
export const hasLabels = ({ task }) => (task?.labels.length ?? 0) > 0

export async function loadModels() {
  const { data } = await askJson('v1/models')
  return {
    backbone: data.find(({ parent }) => parent === null),
    prompts: data.filter(({ parent }) => parent !== null),
  }
}
