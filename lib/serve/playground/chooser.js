// The list of prompts to choose from.

import { $, element, filterBy } from './dom.js'
import { aboutOf, hasLabels } from './models.js'

/** Names of the prompts that are chosen. */
const chosen = new Set()
let applyFilter

/** @param changed called with the chosen prompts, in the list's order, and at once */
export function showChoices(prompts, changed) {
  const known = new Set(prompts.filter(hasLabels).map(({ id }) => id))
  for (const name of chosen) if (!known.has(name)) chosen.delete(name)
  if (chosen.size === 0 && known.size > 0) chosen.add(known.values().next().value)
  const tell = () => changed(prompts.filter(({ id }) => chosen.has(id)))
  const focused = document.activeElement?.dataset.prompt
  $('prompts').replaceChildren(...prompts.map((prompt) => choiceOf(prompt, tell)))
  applyFilter ??= filterBy($('prompt-filter'), () => [...$('prompts').children])
  applyFilter()
  if (focused !== undefined) {
    $('prompts')
      .querySelector(`[data-prompt="${CSS.escape(focused)}"]`)
      ?.focus()
  }
  tell()
}

function choiceOf(prompt, tell) {
  const { id } = prompt
  const [size, task] = aboutOf(prompt)
  const about = hasLabels(prompt) ? task : 'no labels: for completion'
  const box = element('input', {
    type: 'checkbox',
    checked: chosen.has(id),
    disabled: !hasLabels(prompt),
    // heard one after the other, where the label's words would be one long name
    ariaLabel: id,
    ariaDescription: `${size}; ${about}`,
  })
  box.dataset.prompt = id
  box.addEventListener('change', () => {
    if (box.checked) chosen.add(id)
    else chosen.delete(id)
    tell()
  })
  const name = element('span', { className: 'name' }, id)
  const lines = [size, about].map((line) => element('small', {}, line))
  return element('li', {}, element('label', {}, box, element('span', {}, name, ...lines)))
}
