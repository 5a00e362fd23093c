// The text to be labelled, or the fields of the chosen prompts' templates, and a card for each prompt.

import { Card } from './card.js'
import { $, element, say } from './dom.js'

const PAUSE_MS = 150
/** What prompts of a single field share, whatever each calls it. */
const TEXT = 'text'

const cards = new Map()
const inputs = new Map()
let pause

export function showCards(models) {
  for (const [name, card] of cards) {
    const model = models.find(({ id }) => id === name)
    // a prompt of the same name may be another by now
    if (model && JSON.stringify(model) === JSON.stringify(card.model)) continue
    card.close()
    cards.delete(name)
  }
  for (const model of models) {
    if (!cards.has(model.id)) cards.set(model.id, new Card(model, tell))
  }
  const shown = models.map(({ id }) => cards.get(id))
  showFields(shown)
  $('cards').replaceChildren(...shown.map((card) => card.element))
  $('no-cards').hidden = shown.length > 0
  $('no-cards').textContent =
    $('prompts').childElementCount === 0
      ? 'This server has no prompts.'
      : 'Choose a prompt that has labels.'
  update()
}

/** A box for each field that a chosen prompt has; what was typed stays. */
function showFields(shown) {
  const wanted = new Map()
  for (const card of shown) {
    for (const name of card.fields) {
      const key = card.fields.length === 1 ? TEXT : name
      wanted.set(key, [...(wanted.get(key) ?? []), card.model.id])
    }
  }
  const isShared = shown.length > 1 && wanted.size > 1
  const boxes = [...wanted].map(([key, users]) => {
    if (!inputs.has(key)) inputs.set(key, fieldBox(key))
    const box = inputs.get(key)
    box.users.textContent = isShared ? `for ${users.join(', ')}` : ''
    return box
  })
  // moving a box would take the focus from it
  const isSame =
    boxes.length === $('fields').childElementCount &&
    boxes.every(({ row }, i) => row === $('fields').children[i])
  if (!isSame) $('fields').replaceChildren(...boxes.map(({ row }) => row))
}

function fieldBox(key) {
  const area = element('textarea', {
    rows: key === TEXT ? 4 : 2,
    name: key,
    placeholder: 'Type to see the labels',
  })
  area.addEventListener('input', () => {
    clearTimeout(pause)
    pause = setTimeout(update, PAUSE_MS)
  })
  const users = element('span', { className: 'muted' })
  const title = element('span', {}, key === TEXT ? 'Text' : key, ' ', users)
  return { area, users, row: element('label', { className: 'field' }, title, area) }
}

function update() {
  for (const card of cards.values()) card.update(inputOf(card))
}

/** Null until something is typed in each of its fields. */
function inputOf({ fields }) {
  if (fields.length === 1) return inputs.get(TEXT).area.value || null
  const values = fields.map((name) => [name, inputs.get(name).area.value])
  return values.every(([, value]) => value !== '') ? Object.fromEntries(values) : null
}

function tell() {
  say(
    [...cards.values()]
      .map(({ summary }) => summary)
      .filter(Boolean)
      .join('; '),
    1000,
  )
}
