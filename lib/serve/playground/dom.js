// Elements, made without any markup from text, and what a screen reader is told.

export const $ = (id) => document.getElementById(id)

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

/** For people who hear the page; after a moment of quiet, so that typing is not talked over. */
export function say(text, afterMs = 0) {
  clearTimeout(say.timer)
  say.timer = setTimeout(() => {
    $('said').textContent = text
  }, afterMs)
}

export function percent(share) {
  return `${(100 * share).toFixed(1)} %`
}

/** Shows a list's rows that hold what is typed; the field itself only where there are many. */
export function filterBy(input, rows) {
  const apply = () => {
    const all = rows()
    input.hidden = all.length <= 8 && input.value === ''
    const words = input.value.toLowerCase().split(/\s+/)
    for (const row of all) {
      const text = row.textContent.toLowerCase()
      row.hidden = !words.every((word) => text.includes(word))
    }
  }
  input.addEventListener('input', apply)
  return apply
}

/** Runs work again and again while the page is seen, never twice at once. */
export function whileVisible(everyMs, work, begin = () => {}) {
  let timer
  let isBusy = false
  const turn = async () => {
    if (isBusy) return
    isBusy = true
    try {
      await work()
    } finally {
      isBusy = false
    }
  }
  const look = () => {
    clearInterval(timer)
    if (document.hidden) return
    begin()
    timer = setInterval(turn, everyMs)
    turn()
  }
  document.addEventListener('visibilitychange', look)
  look()
}
