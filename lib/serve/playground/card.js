// A prompt's labels as bars, for the text that was asked last.

import { askJson, isAborted } from './api.js'
import { element, percent } from './dom.js'
import { fieldsOf } from './models.js'

/** More labels are the likeliest of them, and how much the others have. */
const MOST_BARS = 10
const AGAIN_MS = 1000

export class Card {
  #asked = null
  #controller = null
  #again
  #bars
  #note = element('p', { className: 'note muted' })

  /** @param told called when there is an answer */
  constructor(model, told) {
    this.model = model
    this.told = told
    this.fields = fieldsOf(model.task.template)
    this.#bars = model.task.labels.slice(0, MOST_BARS).map(barOf)
    const title = element('h3', {}, model.id)
    const template = element('p', { className: 'muted template' }, model.task.template)
    const list = element('ul', { className: 'bars' }, ...this.#bars.map(({ row }) => row))
    list.ariaLabel = `Labels by ${model.id}`
    this.element = element(
      'article',
      { className: 'card' },
      title,
      template,
      list,
      this.#note,
    )
    this.#clear('')
  }

  /** @param input a text, or texts by field; null: nothing is asked. The newest wins. */
  async update(input) {
    const text = JSON.stringify(input)
    if (text === this.#asked) return
    this.#asked = text
    this.close()
    if (input === null) {
      this.#clear('')
      return
    }
    const controller = new AbortController()
    this.#controller = controller
    try {
      const began = performance.now()
      const { data, usage } = await askJson('v1/classify', {
        body: { model: this.model.id, input },
        signal: controller.signal,
      })
      this.#show(data[0], usage.prompt_tokens, performance.now() - began)
    } catch (error) {
      if (!isAborted(error)) this.#failed(error, input)
    }
  }

  /** Gives up what is being asked. */
  close() {
    clearTimeout(this.#again)
    this.#controller?.abort()
    this.#controller = null
  }

  /** What is heard of it. */
  get summary() {
    return (
      this.best && `${this.model.id}: ${this.best.label}, ${percent(this.best.share)}`
    )
  }

  #failed(error, input) {
    const isBusy = error.status === 429 || error.status === 503
    this.#asked = null
    this.#clear(
      isBusy ? 'The server is busy; it is asked again.' : error.message,
      !isBusy,
    )
    if (isBusy) this.#again = setTimeout(() => this.update(input), AGAIN_MS)
  }

  #clear(note, isBad = false) {
    this.best = undefined
    this.element.classList.add('is-empty')
    for (const bar of this.#bars) setBar(bar, { share: 0, text: '–', isBest: false })
    this.#tell(note, isBad)
  }

  #show({ label, labels, probs, truncated }, tokens, ms) {
    const shares = labels.map((name, i) => ({ name, share: probs[i] }))
    // in their own order where there is room for all, so that nothing moves
    if (labels.length > MOST_BARS) shares.sort((a, b) => b.share - a.share)
    this.#bars.forEach((bar, i) => {
      const { name, share } = shares[i]
      bar.name.textContent = name
      setBar(bar, { share, text: percent(share), isBest: name === label })
    })
    this.element.classList.remove('is-empty')
    this.best = { label, share: probs[labels.indexOf(label)] }
    const others = shares.slice(MOST_BARS)
    const rest = others.reduce((sum, { share }) => sum + share, 0)
    this.#tell(
      [
        truncated > 0 && `${truncated} tokens of the text were cut off`,
        others.length > 0 && `${others.length} other labels: ${percent(rest)}`,
        `${tokens} tokens, ${Math.round(ms)} ms`,
      ]
        .filter(Boolean)
        .join(' · '),
      truncated > 0,
    )
    this.told()
  }

  #tell(note, isBad) {
    this.#note.textContent = note
    this.#note.classList.toggle('bad', isBad)
  }
}

function barOf(label) {
  const mark = element('span', { className: 'mark' })
  const name = element('span', { className: 'label' }, label)
  const share = element('span', { className: 'share' })
  const fill = element('span', { className: 'fill' })
  const track = element('span', { className: 'track', ariaHidden: 'true' }, fill)
  return { row: element('li', {}, mark, name, share, track), mark, name, share, fill }
}

function setBar({ row, mark, share, fill }, { share: value, text, isBest }) {
  row.classList.toggle('is-best', isBest)
  mark.replaceChildren(
    ...(isBest
      ? [
          element('span', { ariaHidden: 'true' }, '✓'),
          element('span', { className: 'unseen' }, 'chosen: '),
        ]
      : []),
  )
  share.textContent = text
  // by the style object: the page's policy allows no style in attributes
  fill.style.transform = `scaleX(${value})`
}
