// Requests to the server that the page came from. Where it asks for a key, the browser has asked its user for one, and sends it
// with these as with the page.

import { $ } from './dom.js'

// also where the page is mounted without a slash behind it
const base = location.pathname.replace(/\/?$/, '/')

export async function ask(path, { body, signal } = {}) {
  const answer = await fetch(base + path, {
    signal,
    ...(body && {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
  if (answer.ok) return answer
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

/** What concerns the whole page; nothing takes it away again. */
export function showTrouble(...content) {
  $('trouble').replaceChildren(...content)
  $('trouble').hidden = content.length === 0
}
