// Requests to the server that the page came from, with a key where it asks for one.

import { $ } from './dom.js'

// also where the page is mounted without a slash behind it
const base = location.pathname.replace(/\/?$/, '/')
const wantsKey = 'wantsKey' in document.body.dataset
const keyName = `lopt key for ${base}`
/** The dialog's answer, while it is open. */
let asking = null
let isDeclined = false

export async function ask(path, { body, signal } = {}) {
  const key = wantsKey ? await givenKey() : undefined
  signal?.throwIfAborted()
  const answer = await fetch(base + path, {
    signal,
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      ...(key && { authorization: `Bearer ${key}` }),
    },
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  })
  if (answer.ok) return answer
  if (answer.status === 401 && wantsKey) {
    // another request may have been given a better one meanwhile
    if (sessionStorage.getItem(keyName) === key) sessionStorage.removeItem(keyName)
    $('key-message').textContent = 'This key is not known here.'
    return await ask(path, { body, signal })
  }
  throw Object.assign(new Error(await messageOf(answer)), { status: answer.status })
}

export async function askJson(path, options) {
  const answer = await ask(path, options)
  return await answer.json()
}

export function isAborted(error) {
  return error.name === 'AbortError'
}

async function messageOf(answer) {
  try {
    const { error } = await answer.json()
    return error.message
  } catch {
    return `The server answered ${answer.status}`
  }
}

async function givenKey() {
  const stored = sessionStorage.getItem(keyName)
  if (stored !== null) return stored
  if (isDeclined) throw new Error('The server asks for a key')
  asking ??= askForKey().finally(() => {
    asking = null
  })
  return await asking
}

function askForKey() {
  const dialog = $('key-dialog')
  const { promise, resolve, reject } = settledLater()
  $('key-form').onsubmit = (event) => {
    event.preventDefault()
    const key = $('key').value.trim()
    if (key === '') return
    sessionStorage.setItem(keyName, key)
    resolve(key)
    dialog.close()
  }
  $('key-cancel').onclick = () => dialog.close()
  dialog.onclose = () => {
    $('key').value = ''
    // after a key it is settled already
    reject(new Error('The server asks for a key'))
  }
  promise.catch(() => {
    isDeclined = true
    offerKey()
  })
  dialog.showModal()
  return promise
}

function settledLater() {
  const later = {}
  later.promise = new Promise((resolve, reject) =>
    Object.assign(later, { resolve, reject }),
  )
  return later
}

function offerKey() {
  const button = document.createElement('button')
  button.textContent = 'Enter the key'
  button.onclick = () => location.reload()
  showTrouble('Nothing is shown without the server’s key. ', button)
}

/** What concerns the whole page; nothing takes it away again. */
export function showTrouble(...content) {
  $('trouble').replaceChildren(...content)
  $('trouble').hidden = content.length === 0
}
