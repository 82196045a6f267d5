/**
 * Asks the agent: HTTP over its unix socket (or over TCP, with certificates), JSON both ways, Docker's paths and those under /grapevine/.
 *
 * Turns every way of not being answered into a fault with the remedy. It never retries: what a write did is known only to the agent.
 */
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { warningsHeader } from '../api/headers.ts'
import { type Fault, fault } from '../fault.ts'
import { http } from '../http.ts'

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface Client {
  /** Path of the unix socket, or `tcp://host:port`. */
  readonly socket: string
  get<T>(path: string, query?: Query): Promise<T>
  post<T>(path: string, body: unknown, query?: Query): Promise<T>
  delete<T>(path: string, query?: Query): Promise<T>
  /** The raw answer, for logs and events. Aborting closes the connection. */
  stream(path: string, query: Query, signal?: AbortSignal): Promise<IncomingMessage>
}

export interface ClientOptions {
  /** Is told the warnings that came with an answer. */
  readonly warn?: (sentences: readonly string[]) => void
  /** Folder of ca.pem, cert.pem and key.pem, for a socket of TCP. */
  readonly certificates?: string
}

export function createClient(socket: string, { warn = () => {}, certificates }: ClientOptions = {}): Client {
  const json = async (method: string, path: string, query: Query, body?: unknown) => {
    const response = await send({ socket, certificates, method, path, query, body })
    warn(readWarnings(response.headers[warningsHeader]))
    const text = await readAll(response)
    if (text === '') return undefined
    if (!/\bjson\b/.test(response.headers['content-type'] ?? 'json')) return text
    return JSON.parse(text)
  }
  return {
    socket,
    get: (path, query = {}) => json('GET', path, query),
    post: (path, body, query = {}) => json('POST', path, query, body),
    delete: (path, query = {}) => json('DELETE', path, query),
    stream: (path, query, signal) =>
      send({ socket, certificates, method: 'GET', path, query, ...(signal ? { signal } : {}) }),
  }
}

/** The socket a command talks to: flag, environment, then the standard place for who we are. */
export function socketPath(flag: string | undefined, env: Readonly<Record<string, string | undefined>>): string {
  const given = flag ?? env.VINE_SOCKET
  if (given !== undefined && given !== '') return given.replace(/^unix:\/\//, '')
  return standardSocket(env, process.getuid?.() === 0)
}

/** Where the certificates of a socket of TCP lie: a folder of its own, Docker's, or Docker's standard one. */
export function certificateFolder(env: Readonly<Record<string, string | undefined>>): string {
  return env.VINE_CERT_PATH || env.DOCKER_CERT_PATH || `${env.HOME ?? ''}/.docker`
}

/** `/run/grapevine/vine.sock`; without root below XDG_RUNTIME_DIR, or /tmp where a login made none. */
export function standardSocket(env: Readonly<Record<string, string | undefined>>, isRoot: boolean): string {
  if (isRoot) return '/run/grapevine/vine.sock'
  return `${env.XDG_RUNTIME_DIR || `/tmp/grapevine-${process.getuid?.() ?? 0}`}/grapevine/vine.sock`
}

/** Docker's way of passing filters: JSON of name to values. */
export function filters(given: Readonly<Record<string, readonly string[]>>): string | undefined {
  return Object.keys(given).length === 0 ? undefined : JSON.stringify(given)
}

interface Request {
  readonly socket: string
  readonly certificates: string | undefined
  readonly method: string
  readonly path: string
  readonly query: Query
  readonly body?: unknown
  readonly signal?: AbortSignal
}

async function send(what: Request): Promise<IncomingMessage> {
  const response = await connect(what)
  const status = response.statusCode ?? 0
  if (status < 400) return response
  throw refusal(status, await readAll(response))
}

async function connect({ socket, certificates, method, path, query, body, signal }: Request): Promise<IncomingMessage> {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  const text = body === undefined ? undefined : JSON.stringify(body)
  const headers =
    text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  const question = search.size === 0 ? '' : `?${search}`
  const what = { method, path: `${path}${question}`, headers, agent: false as const, ...(signal ? { signal } : {}) }
  const secure = isTcp(socket) ? await import('./secure.ts') : undefined
  const begin =
    secure?.secureRequest(socket, certificates) ??
    ((options: RequestOptions): ClientRequest => http.request({ ...options, socketPath: socket }))
  return new Promise((resolve, reject) => {
    const request = begin(what)
    request.on('response', resolve)
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (signal?.aborted) reject(error)
      else reject(secure?.refusedBy(socket, error) ?? unanswered(socket, error))
    })
    request.end(text)
  })
}

/** As Docker writes it in a URL. */
export function addressOf(socket: string): string {
  return isTcp(socket) ? socket : `unix://${socket}`
}

function isTcp(socket: string): boolean {
  return socket.startsWith('tcp://')
}

/** Codes of a socket that nobody listens on. */
const nobody = new Set([
  'ENOENT',
  'ECONNREFUSED',
  'ENOTSOCK',
  'ENOTDIR',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
])

function unanswered(socket: string, error: NodeJS.ErrnoException): Fault {
  const where = addressOf(socket)
  if (nobody.has(error.code ?? '')) {
    const fix = isTcp(socket) ? 'See that its agent runs, with --api' : 'Start one with: vine agent'
    return fault('unavailable', `No agent answers at ${where}`, fix, error)
  }
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return fault(
      'forbidden',
      `You may not use the socket ${where}`,
      'Run vine as the user who started the agent, or as root',
      error,
    )
  return fault(
    'unavailable',
    `The agent at ${where} broke off: ${error.message}`,
    'See its log, and whether it still runs: vine status',
    error,
  )
}

/** Docker's error body is `{"message"}`; ours adds `fix`. */
function refusal(status: number, text: string): Fault {
  let message = text.trim() || `the agent answered ${status}`
  let fix: string | undefined
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body === 'object' && body !== null) {
      if ('message' in body && typeof body.message === 'string') message = body.message
      if ('fix' in body && typeof body.fix === 'string') fix = body.fix
    }
  } catch {
    // Not JSON: the text itself is the message.
  }
  const code =
    status === 404
      ? 'not-found'
      : status === 409
        ? 'conflict'
        : status === 400
          ? 'invalid'
          : status === 503
            ? 'unavailable'
            : 'internal'
  return fault(code, message, fix)
}

/** Docker's bodies have no place for most warnings; the agent puts them into a header as JSON, percent-encoded. */
function readWarnings(header: string | readonly string[] | undefined): readonly string[] {
  if (typeof header !== 'string') return []
  try {
    const sentences: unknown = JSON.parse(decodeURIComponent(header))
    return Array.isArray(sentences) ? sentences.filter((sentence) => typeof sentence === 'string') : []
  } catch {
    // Cut off at the header's limit: the answer itself is whole.
    return []
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8')
  let text = ''
  for await (const chunk of response) text += chunk
  return text
}
