// A local server that speaks the hub's protocol, with faults on demand: repository listing, files behind
// a redirect to another host name (the hub's content network), ranges.

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface HubRequest {
  readonly url: string
  readonly host: string
  readonly authorization: string | undefined
  readonly range: string | undefined
}

/** What goes wrong with requests whose path ends with `path`. */
export interface Fault {
  readonly path: string
  /** How many times; after that all is well. Default: always. */
  times?: number
  readonly status?: number
  readonly headers?: Record<string, string>
  /** The connection breaks after this many bytes of the answer. */
  readonly cutAfter?: number
  /** Nothing comes after this many bytes. */
  readonly stallAfter?: number
  /** Ranges are ignored: the whole file comes. */
  readonly ignoreRange?: boolean
  /** Sent in the place of the file. */
  readonly content?: Buffer
}

export interface HubServer {
  readonly endpoint: string
  readonly requests: HubRequest[]
  faults: Fault[]
  /** Of the next listings. */
  commit: string
  close(): Promise<void>
}

const REPOSITORY = { id: 'org/tiny', type: 'model' } as const
/** Files at least this large are LFS files: their etag is a SHA-256. */
const LFS_BYTES = 100_000

export async function startHub(
  files: Record<string, Buffer>,
  { id, type }: { id: string; type: 'model' | 'dataset' } = REPOSITORY,
): Promise<HubServer> {
  const place = type === 'dataset' ? `/datasets/${id}` : `/${id}`
  const requests: HubRequest[] = []
  const server = createServer((request, response) => answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const hub: HubServer = {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    faults: [],
    commit: 'a'.repeat(40),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = decodeURIComponent((request.url as string).split('?')[0] as string)
    const { host = '', authorization, range } = request.headers
    requests.push({ url, host, authorization, range })
    const fault = hub.faults.find((one) => url.endsWith(one.path) && (one.times ?? 1) > 0)
    if (fault?.times !== undefined) fault.times -= 1
    if (fault?.status !== undefined) {
      response.writeHead(fault.status, fault.headers).end('{}')
      return
    }
    if (url === `/api/${type}s/${id}/revision/main`) {
      json(response, { _id: '1', id, sha: hub.commit, lastModified: 0 })
    } else if (url === `/api/${type}s/${id}/tree/${hub.commit}`) {
      json(response, Object.entries(files).map(listed))
    } else if (url.startsWith(`${place}/resolve/${hub.commit}/`)) {
      const path = url.split(`${hub.commit}/`)[1] as string
      // As the hub sends large files elsewhere.
      const location = `http://localhost:${port}/content/${path}`
      response.writeHead(302, { location }).end()
    } else if (url.startsWith('/content/')) {
      sendFile(request, response, url.slice('/content/'.length), fault)
    } else {
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end('{"error": "Repository not found"}')
    }
  }

  function sendFile(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    fault: Fault | undefined,
  ): void {
    const whole = fault?.content ?? files[path]
    if (whole === undefined) {
      response.writeHead(404).end()
      return
    }
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
    const from = range === null || fault?.ignoreRange ? 0 : Number(range[1])
    const body = whole.subarray(from)
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length })
    const stop = fault?.cutAfter ?? fault?.stallAfter
    if (stop === undefined) {
      response.end(body)
      return
    }
    response.write(body.subarray(0, stop), () => {
      // The bytes have to arrive before the connection breaks.
      if (fault?.cutAfter !== undefined) setTimeout(() => response.destroy(), 50)
    })
  }
  return hub
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

function listed([path, content]: [string, Buffer]): object {
  const size = content.length
  const git = createHash('sha1').update(`blob ${size}\0`).update(content).digest('hex')
  const entry = { type: 'file', path, size, oid: git }
  if (size < LFS_BYTES) return entry
  return { ...entry, lfs: { oid: sha256(content), size, pointerSize: 134 } }
}

export function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
