// A template's parts and its filling with a row's values. Knows no tokenizer, model or file.

/** A template taken apart: literal text and fields by turns. */
export interface Template {
  readonly source: string
  /** The names in the template, each once, in order of appearance. */
  readonly fields: readonly string[]
  readonly parts: readonly (string | { readonly field: string })[]
}

/**
 * Takes a template apart. `{name}` is a field, `{{` and `}}` are the braces themselves; a name is
 * anything but braces and line breaks, so that a CSV's column may be called `review text`.
 *
 * @throws TypeError unless `source` is text; RangeError for a brace that is left open, an empty
 * name, or no field at all.
 */
export function parseTemplate(source: string): Template {
  if (typeof source !== 'string') {
    throw new TypeError(`Expected template to be text but received ${typeof source}`)
  }
  const parts: (string | { field: string })[] = []
  const fields: string[] = []
  let literal = ''
  for (let at = 0; at < source.length; at++) {
    const two = source.slice(at, at + 2)
    if (two === '{{' || two === '}}') {
      literal += source[at++]
    } else if (source[at] === '}') {
      throw new RangeError(`${where(source, at)}: } closes nothing; write }} for a brace`)
    } else if (source[at] === '{') {
      const field = /^\{([^{}\r\n]*)\}/.exec(source.slice(at))?.[1]
      if (field === undefined) {
        throw new RangeError(
          `${where(source, at)}: { is not closed; write {{ for a brace`,
        )
      }
      if (field.trim() === '')
        throw new RangeError(`${where(source, at)}: {} names no field`)
      if (literal !== '') parts.push(literal)
      literal = ''
      parts.push({ field })
      if (!fields.includes(field)) fields.push(field)
      at += field.length + 1
    } else {
      literal += source[at]
    }
  }
  if (literal !== '') parts.push(literal)
  if (fields.length === 0) {
    throw new RangeError(
      `Template ${JSON.stringify(source)} has no {field}: every row would read the same`,
    )
  }
  return { source, fields, parts }
}

/**
 * The template with each field's value in its place. A value is put in as it is: braces in it are
 * not looked at again.
 *
 * @throws RangeError for a field that `values` does not have.
 */
export function fillTemplate(
  template: Template | string,
  values: Readonly<Record<string, string>>,
): string {
  const { parts } = typeof template === 'string' ? parseTemplate(template) : template
  let text = ''
  for (const part of parts) {
    text += typeof part === 'string' ? part : fieldValue(part.field, values)
  }
  return text
}

/** A field's value. @throws RangeError if there is none. */
export function fieldValue(
  field: string,
  values: Readonly<Record<string, string>>,
): string {
  const value = Object.hasOwn(values, field) ? values[field] : undefined
  if (value !== undefined) return value
  const names = Object.keys(values).map((name) => JSON.stringify(name))
  throw new RangeError(
    `The template's field "${field}" is missing; the row has ${names.join(', ') || 'no fields'}`,
  )
}

function where(source: string, at: number): string {
  return `Template ${JSON.stringify(source)}, character ${at + 1}`
}
