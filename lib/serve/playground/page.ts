// The page as one text: its style and its script stand in it, so that it has no addresses that depend on where it is mounted,
// and its policy names their hashes.

import { createHash } from 'node:crypto'
import api from './api.js?raw'
import base from './base.css?raw'
import card from './card.js?raw'
import chart from './chart.js?raw'
import chooser from './chooser.js?raw'
import completion from './completion.js?raw'
import dom from './dom.js?raw'
import labelStyle from './labels.css?raw'
import labels from './labels.js?raw'
import live from './live.js?raw'
import main from './main.js?raw'
import models from './models.js?raw'
import frame from './page.html'
import parts from './parts.css?raw'
import runs from './runs.js?raw'

// Each behind those that it imports.
const MODULES = [
  dom,
  api,
  models,
  chart,
  card,
  chooser,
  labels,
  completion,
  live,
  runs,
  main,
]

/** Modules as one: a name is exported by one of them alone, and none has an import of another's under another name. */
function joined(modules: readonly string[]): string {
  return modules
    .map((text) =>
      text
        .replace(/^import [^;]*? from '\.\/[\w-]+\.js'\n/gm, '')
        .replace(/^export /gm, ''),
    )
    .join('\n')
}

const style = [base, labelStyle, parts].join('\n')
const script = joined(MODULES)

const page = frame
  .replace('<style></style>', () => `<style>${style}</style>`)
  .replace(
    '<script type="module"></script>',
    () => `<script type="module">${script}</script>`,
  )

const hashOf = (text: string) =>
  `'sha256-${createHash('sha256').update(text).digest('base64')}'`

export const PAGE_POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(script)}`,
  `style-src ${hashOf(style)}`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** What the page must know before it asks for anything. */
export interface PageFlags {
  readonly showsRuns: boolean
}

export function pageOf({ showsRuns }: PageFlags): string {
  return showsRuns ? page.replace('<body>', '<body data-shows-runs>') : page
}
