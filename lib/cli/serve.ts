// `lopt serve`: one model and a folder of prompts over HTTP, until it is told to stop. Parses, prints, and leaves the rest to the
// engine and the server.

import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { createEngine, type Engine, type EngineLimits } from '../engine/index.js'
import { cannotRead, LoptError } from '../errors.js'
import type { Backbone } from '../index.js'
import type { FolderReport, ServerOptions } from '../serve/index.js'
import { asked, UsageError } from './failure.js'
import type { Context } from './interrupt.js'
import {
  backboneOptions,
  graphsOf,
  graphsOption,
  otherBackboneOption,
  withBackbone,
} from './model-options.js'
import {
  addCommand,
  choice,
  flag,
  integer,
  jsonOption,
  list,
  notNegative,
  type OptionValues,
  optional,
  optionValues,
  path,
  positive,
  text,
  withDefault,
} from './options.js'
import { count, type Output } from './output.js'
import { logStream } from './serve-log.js'

const model = {
  ...backboneOptions,
  prompts: optional(
    '--prompts <dir>',
    'folder of *.lopt.safetensors files and PEFT adapter folders; SIGHUP reads it again',
    path,
    'none: the model alone',
  ),
  allowOtherBackbone: otherBackboneOption,
}

const network = {
  host: withDefault('--host <address>', 'where it listens', text, '127.0.0.1'),
  port: withDefault(
    '--port <n>',
    '0: any free one',
    integer(0).refine((port) => port < 2 ** 16, 'Expected a port of 0..65535.'),
    8000,
  ),
  cors: optional(
    '--cors <origins>',
    'pages of these origins, with commas between them, may ask; *: all',
    list,
    'none',
  ),
  graceSeconds: withDefault(
    '--grace-seconds <x>',
    'time for running requests once it is told to stop',
    notNegative,
    30,
  ),
}

const access = {
  apiKeyFile: optional(
    '--api-key-file <file>',
    'keys, one a line; every route but /health and /ready asks for one',
    path,
    'none: open to all who reach it',
  ),
  allowAdmin: flag(
    '--allow-admin',
    'prompts may be added and removed over HTTP; needs --api-key-file',
  ),
  logLevel: withDefault(
    '--log-level <level>',
    'fatal, error, warn, info, debug, trace or silent',
    choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
  ),
  logText: flag('--log-text', 'log what users send, their texts too'),
  runs: optional(
    '--runs <dir>',
    'folder of run folders, whose curves the page shows',
    path,
  ),
}

const limits = {
  maxRunning: optional(
    '--max-running <n>',
    'texts that are continued at once',
    integer(1),
    '16',
  ),
  maxBatchTokens: optional(
    '--max-batch-tokens <n>',
    'tokens that run through the model at once',
    integer(1),
    'as many as pay',
  ),
  maxQueuedRequests: optional(
    '--max-queued-requests <n>',
    'requests that wait; more are refused',
    integer(1),
    '1024',
  ),
  maxQueuedTokens: optional(
    '--max-queued-tokens <n>',
    'their tokens; more are refused',
    integer(1),
    '262144',
  ),
  requestTimeout: optional(
    '--request-timeout <x>',
    'seconds that a request may take',
    positive,
    '600',
  ),
  maxInputs: optional('--max-inputs <n>', 'texts of a request', integer(1), '128'),
  maxTokens: optional(
    '--max-tokens <n>',
    '`max_tokens` of a request',
    integer(1),
    '2048',
  ),
  maxConnections: optional('--max-connections <n>', 'at once', integer(1), '4096'),
}

const speed = { graphs: graphsOption }

const options = { ...model, ...network, ...access, ...limits, ...speed, json: jsonOption }
type Options = OptionValues<typeof options>

const HELP = `
Each option may be given as an environment variable too: --api-key-file as LOPT_API_KEY_FILE.
Routes: POST /v1/completions, /v1/classify, /predict; GET /v1/models, /health, /ready, /metrics,
/openapi.json, and / for a page to try prompts on. The log goes to standard error.
SIGTERM or Ctrl-C: takes no more requests, finishes running ones, exits with 0.

Examples:
  npx lopt serve --backbone builtin:nano-gpt2 --prompts ./prompts
  curl localhost:8000/v1/classify -H 'content-type: application/json' \\
    -d '{"model": "reviews", "input": "A delight."}'`

const STOPPING = 'no more requests are taken; once more stops at once'

/** @param isEnd to be called with what is said when it is told to stop, which ends it well */
export function addServe(
  program: Command,
  context: Context,
  isEnd: (message: string) => void,
): void {
  const command = addCommand(program, 'serve', {
    description: 'Answers over HTTP: one model, and a folder of prompts for it.',
    help: HELP,
    environment: true,
    options: {
      'Model:': model,
      'Network:': network,
      'Access and log:': access,
      'Limits:': limits,
      'Speed:': speed,
      'Output:': { json: jsonOption },
    },
  })
  command.action(async () => {
    isEnd(STOPPING)
    await run(optionValues(command, options), context)
  })
}

// Requests make products of thousands of shapes, and oneDNN keeps some 600 kB for each of the last 1024: 600 MB for a model of 4.
// As few as these cost no time where shapes hardly come again. Read once, with the first product.
const PRODUCTS_KEPT = '64'

async function run(values: Options, context: Context): Promise<void> {
  process.env.ONEDNN_PRIMITIVE_CACHE_CAPACITY ??= PRODUCTS_KEPT
  // Fastify and what it brings takes a moment to load, which no other command should wait for.
  const { readKeyFile } = await import('../serve/index.js')
  if (values.allowAdmin && values.apiKeyFile === undefined) {
    throw new UsageError('--allow-admin needs --api-key-file')
  }
  const { apiKeyFile } = values
  const apiKeys = apiKeyFile === undefined ? undefined : await readKeyFile(apiKeyFile)
  for (const folder of [values.prompts, values.runs]) await checkFolder(folder)
  await withBackbone(values, context, async (backbone) => {
    const engine = await asked(() => engineOf(backbone, values))
    try {
      await serve(engine, apiKeys, values, context)
    } finally {
      await engine.close({ graceMs: 0 })
    }
  })
}

function engineOf(backbone: Backbone, values: Options): Engine {
  const { maxRunning, maxBatchTokens, maxQueuedRequests, maxQueuedTokens } = values
  const { maxTokens, maxInputs, requestTimeout } = values
  const limits: EngineLimits = {
    ...{ maxRunning, maxBatchTokens, maxQueuedRequests, maxQueuedTokens },
    ...(maxTokens !== undefined && { maxNewTokens: maxTokens }),
    ...(maxInputs !== undefined && { maxRows: maxInputs }),
    ...(requestTimeout !== undefined && { timeoutMs: Math.ceil(requestTimeout * 1000) }),
  }
  return createEngine({ backbone, limits, ...graphsOf(values) })
}

async function serve(
  engine: Engine,
  apiKeys: readonly string[] | undefined,
  values: Options,
  { output, signal }: Context,
): Promise<void> {
  const { createServer, PromptsFolder } = await import('../serve/index.js')
  const { allowOtherBackbone, prompts: folder } = values
  const prompts = new PromptsFolder(engine, { folder, allowOtherBackbone })
  const report = await prompts.reload()
  for (const { name, reason } of report.failed) {
    output.note(`lopt: warning: the prompt ${name} is left out: ${reason}`)
  }
  const { maxInputs, maxTokens } = values
  const settings: ServerOptions = {
    apiKeys,
    allowAdmin: values.allowAdmin,
    prompts,
    runs: values.runs,
    logText: values.logText,
    logger: { level: values.logLevel, stream: logStream() },
    cors: values.cors,
    graceMs: values.graceSeconds * 1000,
    ...(values.maxConnections && { maxConnections: values.maxConnections }),
    limits: { ...(maxInputs && { maxInputs }), ...(maxTokens && { maxTokens }) },
  }
  const server = createServer(engine, settings)
  const reload = () => {
    prompts.reload().then(
      (report) => server.log[levelOf(report)](report, 'read the prompts again'),
      (err) => server.log.error({ err }, 'the prompts cannot be read again'),
    )
  }
  process.on('SIGHUP', reload)
  try {
    const url = await listening(server, values)
    sayListening(output, engine, url)
    if (apiKeys === undefined && !isLoopback(values.host)) {
      output.note(
        'lopt: warning: whoever reaches this address may ask: --api-key-file asks for a key',
      )
    }
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    process.off('SIGHUP', reload)
    await server.close()
  }
}

function levelOf({ failed }: FolderReport): 'warn' | 'info' {
  return failed.length > 0 ? 'warn' : 'info'
}

function sayListening(output: Output, engine: Engine, url: string): void {
  const { backboneName: model, prompts } = engine
  output.event({ type: 'listening', url, model, prompts: [...prompts.keys()] })
  const some = prompts.size === 1 ? '1 prompt' : `${count(prompts.size)} prompts`
  output.print(`${model} with ${some} on ${url}`)
}

const CANNOT_LISTEN: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; choose another --port',
  EACCES: 'permission denied; choose a --port above 1023',
  EADDRNOTAVAIL: 'this machine has no such address; choose another --host',
  ENOTFOUND: 'there is no such address; choose another --host',
}

async function listening(
  server: Awaited<ReturnType<typeof import('../serve/index.js')['createServer']>>,
  { host, port }: Options,
): Promise<string> {
  try {
    return await server.listen({ host, port })
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException
    const reason = CANNOT_LISTEN[code] ?? message
    const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
    throw new LoptError('ERR_IO', `Cannot listen on ${where}: ${reason}`, { cause })
  }
}

function isLoopback(host: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|::1)$/i.test(host)
}

async function checkFolder(folder: string | undefined): Promise<void> {
  if (folder === undefined) return
  const info = await stat(folder).catch((cause) => {
    throw cannotRead(folder, cause)
  })
  if (!info.isDirectory()) {
    throw new LoptError('ERR_IO', `Cannot read ${folder}: it is no folder`)
  }
}
