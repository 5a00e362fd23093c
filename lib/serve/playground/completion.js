// Texts continued by a prompt or by the model alone, as their tokens come.

import { ask, isAborted } from './api.js'
import { $, element, say } from './dom.js'
import { answersFields, fieldsOf, filled } from './models.js'

let controller = null
/** Of a prompt that answers fields; else null: a text is continued. */
let template = null

export function showModels({ backbone, prompts }) {
  const select = $('model')
  const before = select.value
  select.replaceChildren(
    new Option(`none: ${backbone.id} alone`, backbone.id),
    ...prompts.map(({ id }) => new Option(id)),
  )
  const isThere = [...select.options].some(({ value }) => value === before)
  if (isThere) select.value = before
  const show = () => {
    const model = prompts.find(({ id }) => id === select.value)
    const own = model?.task?.template
    // a space keeps the line's height
    $('start-hint').textContent = own ? `Trained with: ${own}` : '\u00a0'
    template = model && answersFields(model) ? own : null
    $('start-text').hidden = template !== null
    $('start-fields').hidden = template === null
    showBoxes(template === null ? [] : fieldsOf(template))
  }
  select.onchange = show
  show()
}

/** A box for each field; what was typed stays where the fields are the same. */
function showBoxes(names) {
  const before = [...$('start-fields').querySelectorAll('textarea')]
  if (names.join('\n') === before.map(({ name }) => name).join('\n')) return
  const boxes = names.map((name) => {
    const area = element('textarea', { name, rows: 2 })
    area.setAttribute('aria-describedby', 'start-hint')
    return element('label', { className: 'field' }, name, area)
  })
  $('start-fields').replaceChildren(...boxes)
}

/** What is continued, as a request has it and as it is read. */
function givenText() {
  if (template === null) return { prompt: $('start').value, shown: $('start').value }
  const areas = [...$('start-fields').querySelectorAll('textarea')]
  const fields = Object.fromEntries(areas.map(({ name, value }) => [name, value]))
  return { fields, shown: filled(template, fields) }
}

export function startCompletion() {
  const form = $('completion')
  // a long text can be scrolled by keys
  $('made').tabIndex = 0
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    complete(new FormData(form))
  })
  for (const id of ['start-text', 'start-fields']) {
    $(id).addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
    })
  }
  $('stop').addEventListener('click', () => controller?.abort())
}

function bodyOf(data, given) {
  const seed = data.get('seed')
  const stop = data
    .get('stop')
    .split(/\r?\n/)
    .filter((line) => line !== '')
    .map((line) => line.replaceAll('\\n', '\n'))
  return {
    model: $('model').value,
    ...given,
    max_tokens: Number(data.get('max_tokens')),
    temperature: Number(data.get('temperature')),
    top_p: Number(data.get('top_p')),
    ...(seed !== '' && { seed: Number(seed) }),
    ...(stop.length > 0 && { stop }),
    stream: true,
    stream_options: { include_usage: true },
  }
}

async function complete(data) {
  controller?.abort()
  const own = new AbortController()
  controller = own
  const { shown, ...given } = givenText()
  const made = element('span')
  $('made').replaceChildren(element('span', { className: 'muted' }, shown), made)
  $('made').ariaBusy = 'true'
  $('stop').disabled = false
  const pace = new Pace()
  pace.show('Waits for its first token')
  try {
    const answer = await ask('v1/completions', {
      body: bodyOf(data, given),
      signal: own.signal,
    })
    for await (const chunk of eventsOf(answer)) take(chunk, made, pace)
    pace.end()
  } catch (error) {
    if (controller === own) pace.fail(error)
  }
  if (controller === own) ended()
}

function take({ choices, usage, error }, made, pace) {
  if (error) throw new Error(error.message)
  if (usage) pace.exactly(usage.completion_tokens)
  const [choice] = choices ?? []
  if (!choice) return
  const box = $('made')
  const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40
  made.append(choice.text)
  if (isAtEnd) box.scrollTop = box.scrollHeight
  pace.piece(choice)
}

function ended() {
  controller = null
  $('made').ariaBusy = 'false'
  if (document.activeElement === $('stop')) $('completion').querySelector('.main').focus()
  $('stop').disabled = true
}

/** How fast tokens come. A piece is a token mostly; at the end the server says how many there were. */
class Pace {
  #tokens = 0
  #first = 0
  #last = 0
  #reason = null

  piece({ text, finish_reason: reason }) {
    this.#reason = reason ?? this.#reason
    if (text === '') return
    this.#last = performance.now()
    this.#first ||= this.#last
    this.#tokens += 1
    this.show(this.#figures)
  }

  exactly(tokens) {
    this.#tokens = tokens
  }

  end() {
    const why =
      { stop: 'It ended', length: 'As long as it may be' }[this.#reason] ?? 'Ended'
    this.show(`${this.#figures} · ${why}`)
    say(`${why}. ${$('made').lastChild.textContent}`)
  }

  fail(error) {
    const why = isAborted(error) ? 'Stopped' : error.message
    this.show(this.#tokens > 0 ? `${this.#figures} · ${why}` : why, !isAborted(error))
    say(why)
  }

  show(text, isBad = false) {
    $('pace').textContent = text
    $('pace').classList.toggle('bad', isBad)
  }

  get #figures() {
    const seconds = (this.#last - this.#first) / 1000
    const speed =
      seconds > 0 ? `, ${((this.#tokens - 1) / seconds).toFixed(1)} tokens/s` : ''
    return `${this.#tokens} token${this.#tokens === 1 ? '' : 's'}${speed}`
  }
}

/** Server-sent events, each of them JSON. */
async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (true) {
    const { value, done } = await reader.read()
    if (done) return
    const events = (text + value).split('\n\n')
    text = events.pop()
    for (const event of events) {
      const data = event.replace(/^data: /, '')
      if (data !== '[DONE]') yield JSON.parse(data)
    }
  }
}
