/**
 * The Docker engine of this machine, behind its socket: containers, images, volumes and networks of one machine are its business, and
 * whoever may use the API's socket may ask it here (design.md 10), so one DOCKER_HOST serves both.
 *
 * Requests and answers pass unchanged, streams both ways with the pace of the slower side. Nothing is kept, not even whether there is an
 * engine: each request finds out, so an engine may come, go and be upgraded while the agent runs. What the agent asks for itself is bounded
 * in time, because an engine that hangs must not take the swarm's answers with it.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { limits } from '../../../protocol/limits.ts'
import { type Fault, fault, reasonOf } from '../../fault.ts'
import { http } from '../../http.ts'
import { relayedHeader } from '../headers.ts'
import { readBounded } from '../relay.ts'

export interface Engine {
  /** Path of its socket. */
  readonly socket: string
  /** Passes a request on and its answer back. `body` stands in for what was read of the request. Rejects with a Fault while nothing was answered. */
  pass(incoming: IncomingMessage, response: ServerResponse, body?: string): Promise<void>
  /** Joins a connection that asked for an upgrade (attach, exec, build sessions) to the engine: from then on it is the engine's. */
  passUpgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): void
  /** One JSON answer for the agent's own use; undefined when the engine gives none in time. `body`: sent as JSON, for what takes longer. */
  ask(method: 'GET' | 'POST', path: string, signal: AbortSignal, body?: unknown): Promise<EngineAnswer | undefined>
  /** The lines of an answer that goes on, until it ends, breaks or `signal` aborts; none when it is an error. */
  lines(path: string, signal: AbortSignal): AsyncGenerator<string>
}

export interface EngineAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** undefined when it is no JSON. */
  readonly body: unknown
}

/** 2 s: it answers such questions within milliseconds; one that is busy with its disk may take a second. */
const askMs = 2_000
/** 60 s: making a container prepares its disk. */
const makeMs = 60_000

export function createEngine(socket: string): Engine {
  return {
    socket,
    async pass(incoming, response, body) {
      const answer = await exchange(socket, incoming, response, body)
      response.writeHead(answer.statusCode ?? 502, answer.statusMessage, keptHeaders(answer.rawHeaders))
      response.flushHeaders()
      // One that breaks off has its sentence in the answer that was begun, or none: the client sees the connection end, as it would there.
      await pipeline(answer, response).catch(() => response.destroy())
    },
    passUpgrade: (incoming, client, head) => join(socket, incoming, client, head),
    async ask(method, path, signal, body) {
      try {
        const bounded = AbortSignal.any([signal, AbortSignal.timeout(body === undefined ? askMs : makeMs)])
        const answer = await request(socket, { method, path, signal: bounded, body })
        return { status: answer.statusCode ?? 500, headers: answer.headers, body: parse(await readBounded(answer)) }
      } catch {
        // No engine, or one that hangs: the caller answers from what the swarm knows.
        return undefined
      }
    },
    async *lines(path, signal) {
      try {
        const answer = await request(socket, { method: 'GET', path, signal })
        if (answer.statusCode === 200) yield* splitLines(answer)
        else answer.destroy()
      } catch {
        // As above; and an engine that ends has told all it will tell.
      }
    },
  }
}

/** Why nothing can be passed on. */
export function noEngine(socket: string | undefined, cause?: unknown): Fault {
  const fix = 'Start Docker on this machine, or name its socket: vine agent --docker-socket PATH'
  if (socket === undefined) return fault('unavailable', 'this node has no Docker engine to ask', fix)
  if (cause === undefined || isAbsent(cause))
    return fault('unavailable', `no Docker engine answers at ${socket}`, fix, cause)
  return fault('unavailable', `the Docker engine at ${socket} gave no answer: ${reasonOf(cause)}`, undefined, cause)
}

/** Nobody listens there: the machine has no engine, or a stopped one. */
function isAbsent(cause: unknown): boolean {
  return ['ENOENT', 'ECONNREFUSED'].includes((cause as NodeJS.ErrnoException).code ?? '')
}

function exchange(
  socket: string,
  incoming: IncomingMessage,
  response: ServerResponse,
  body: string | undefined,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = [...keptHeaders(incoming.rawHeaders, body), 'Connection', 'keep-alive']
    const outgoing = http.request({
      socketPath: socket,
      method: incoming.method ?? 'GET',
      path: incoming.url ?? '/',
      headers,
      agent: false,
      setHost: false,
    })
    outgoing.on('response', resolve)
    outgoing.on('error', (cause) => reject(noEngine(socket, cause)))
    // An engine that answers before it has read all still lets the client send the rest, which reads no answer before.
    outgoing.on('close', () => {
      incoming.unpipe(outgoing)
      incoming.resume()
    })
    incoming.on('close', () => {
      if (!incoming.complete) outgoing.destroy()
    })
    response.on('close', () => outgoing.destroy())
    if (body === undefined) incoming.pipe(outgoing)
    else outgoing.end(body)
  })
}

/**
 * What concerns one connection only is left out; the length of a body that was made anew is its own. The connection ends with the exchange, and
 * we end it: asked to, the engine would close it in the moment of its answer, which a write that meets the close would lose (EPIPE).
 */
function keptHeaders(raw: readonly string[], body?: string): string[] {
  const dropped = new Set(['connection', 'keep-alive', 'proxy-connection'])
  if (body !== undefined) for (const name of ['content-length', 'transfer-encoding', 'content-type']) dropped.add(name)
  const kept = raw.flatMap((name, i) =>
    i % 2 === 1 || dropped.has(name.toLowerCase()) ? [] : [name, raw[i + 1] ?? ''],
  )
  if (body === undefined) return kept
  return [...kept, 'Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))]
}

/** Byte for byte, the request's head as it came: what follows an upgrade is no HTTP. Each side may end its half first, as stdin does. */
function join(path: string, incoming: IncomingMessage, client: Duplex, head: Buffer): void {
  const engine = net.connect(path)
  let answered = false
  engine.once('data', () => {
    answered = true
  })
  engine.on('error', (cause) => {
    if (answered || !client.writable) return void client.destroy()
    const body = `${JSON.stringify({ message: noEngine(path, cause).message })}\n`
    const length = Buffer.byteLength(body)
    client.end(
      `HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n${body}`,
    )
  })
  client.on('error', () => engine.destroy())
  client.on('close', () => engine.destroy())
  engine.on('close', () => {
    if (answered) client.end()
  })
  const lines = [`${incoming.method} ${incoming.url} HTTP/${incoming.httpVersion}`]
  for (let i = 0; i < incoming.rawHeaders.length; i += 2)
    lines.push(`${incoming.rawHeaders[i]}: ${incoming.rawHeaders[i + 1]}`)
  engine.write(`${lines.join('\r\n')}\r\n\r\n`)
  if (head.length > 0) engine.write(head)
  client.pipe(engine)
  engine.pipe(client)
}

interface Asked {
  readonly method: string
  readonly path: string
  readonly signal: AbortSignal
  readonly body?: unknown
}

/** Marked as sent by an agent: where the socket is an agent's after all, it answers for itself, and two agents never ask each other in circles. */
function request(socket: string, { method, path, signal, body }: Asked): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const json = body === undefined ? undefined : JSON.stringify(body)
    const typed = json === undefined ? {} : { 'content-type': 'application/json' }
    const headers = { host: 'docker', [relayedHeader]: 'engine', ...typed }
    const outgoing = http.request({ socketPath: socket, method, path, headers, agent: false, signal })
    outgoing.on('response', resolve)
    outgoing.on('error', reject)
    outgoing.end(json)
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function* splitLines(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of body) {
    const lines = (rest + chunk.toString('utf8')).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > limits.apiBodyBytesMax) return
    for (const line of lines) if (line.trim() !== '') yield line
  }
}
