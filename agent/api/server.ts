/**
 * The API's HTTP server: reads requests, calls handlers, writes replies. It holds no policy of the API itself.
 *
 * Bounds: bodies (limits.apiBodyBytesMax), headers (16 KB), connections, and the time a client may take to send a request, so that slow or
 * half-open clients cost a bounded amount. A stream waits for the client to read; it never queues. Requests that another agent relays come
 * as byte streams of the mesh through `serve`.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { limits } from '../../protocol/limits.ts'
import { Fault, fault, reasonOf } from '../fault.ts'
import { http } from '../http.ts'
import type { ApiContext } from './context.ts'
import { noEngine } from './engine/engine.ts'
import { throughEngine } from './engine/paths.ts'
import type { ApiRequest, Reply } from './exchange.ts'
import { ping } from './handlers/system.ts'
import { hasRegistryAuth, registryAuthHeader, relayedHeader, warningsHeader } from './headers.ts'
import { apiVersion, createRouter } from './router.ts'
import { routes } from './routes.ts'
import { listenSecurely, type SecurePlace } from './secure.ts'
import { listenOnSocket } from './socket.ts'
import { statusOf } from './statuses.ts'

export interface ApiPlaces {
  /** Path of the unix socket. */
  readonly socket: string
  /** Over TCP too, with TLS certificates on both sides. */
  readonly tcp?: SecurePlace | undefined
}

export interface ApiServer {
  /** Where it answers over TCP. */
  readonly tcpPort: number | undefined
  /** Serves one byte stream that speaks HTTP: what another agent relays over the mesh. */
  serve(stream: Duplex): void
  /** Stops to listen, ends open connections, removes the socket. */
  close(): Promise<void>
}

/** 512: a dashboard and some scripts a node; each costs a file descriptor that forwarding may need. */
const connectionsMax = 512
/** 10 s for the headers and 30 s for a body that we read: a local client needs milliseconds, a relayed one a round trip. */
const headersTimeoutMs = 10_000
const bodyTimeoutMs = 30_000

/** Starts the API. Rejects with a Fault when the socket is taken by a live agent or cannot be made, or TCP was asked for and cannot be had. */
export async function createApiServer(context: ApiContext, places: ApiPlaces): Promise<ApiServer> {
  const server = createHttpServer(context)
  const secure = places.tcp === undefined ? undefined : await listenSecurely(server, places.tcp, context.log)
  await listenOnSocket(server, places.socket).catch((error: unknown) => {
    secure?.close()
    throw error
  })
  /** Connections that are the engine's now: node:http has let go of them, so they are ended here. */
  const joined = new Set<Duplex>()
  server.on('upgrade', (incoming, socket, head) => {
    joined.add(socket)
    socket.on('close', () => joined.delete(socket))
    context.engine?.passUpgrade(incoming, socket, head)
  })
  return {
    tcpPort: secure?.port,
    serve: (stream) => {
      // A relayed stream that breaks must not take the agent down; http closes its side itself.
      stream.on('error', () => stream.destroy())
      server.emit('connection', stream)
    },
    close: () =>
      new Promise((resolve) => {
        secure?.close()
        server.close(() => resolve())
        server.closeAllConnections()
        for (const socket of joined) socket.destroy()
      }),
  }
}

/** The server without a place to listen: for tests, and for agents that only serve relayed streams. */
export function createHttpServer(context: ApiContext): Server {
  const route = createRouter(routes)
  const server = http.createServer(
    {
      maxHeaderSize: 16 * 1024,
      headersTimeout: headersTimeoutMs,
      // What passes to the engine, such as an image to load, may take long: the bound is on bodies that are read here.
      requestTimeout: 0,
      keepAliveTimeout: 5_000,
      shouldUpgradeCallback: (incoming) => context.engine !== undefined && isEngines(incoming),
    },
    (incoming, response) => {
      const gone = new AbortController()
      response.on('close', () => gone.abort())
      response.on('error', () => gone.abort())
      answer(incoming, response, gone.signal).catch((thrown: unknown) => {
        context.log.error('The API could not send an answer.', { path: incoming.url, reason: reasonOf(thrown) })
        response.destroy()
      })
    },
  )
  server.maxConnections = connectionsMax
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    else socket.destroy()
  })
  return server

  async function answer(incoming: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const reply = await replyTo(incoming, signal)
    if (reply.kind === 'engine') return passOn(reply, incoming, response, signal)
    await answerWith(reply, incoming, response, signal)
  }

  async function answerWith(
    reply: Answerable,
    incoming: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    // A client that still sends reads no answer: it would only see the connection break.
    if (!incoming.complete && !incoming.destroyed) await swallow(incoming)
    await send(reply, incoming, response, signal)
  }

  async function passOn(
    { absent, body }: Reply & { readonly kind: 'engine' },
    incoming: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      if (context.engine === undefined) throw noEngine(undefined)
      await context.engine.pass(incoming, response, body === undefined ? undefined : JSON.stringify(body))
    } catch (thrown) {
      const { message } = thrown instanceof Fault ? thrown : { message: reasonOf(thrown) }
      const told = absent === undefined ? thrown : fault('not-found', `${absent} (${message})`)
      await answerWith(failure(context, incoming, told), incoming, response, signal)
    }
  }

  /** Whether a request that asks for another protocol on its connection may have it: the swarm's own paths speak HTTP alone. */
  function isEngines(incoming: IncomingMessage): boolean {
    const match = route(incoming.method ?? 'GET', (incoming.url ?? '/').split('?')[0] ?? '/')
    return !(match instanceof Fault) && match.handle === throughEngine && !isRelayed(incoming)
  }

  async function replyTo(incoming: IncomingMessage, signal: AbortSignal): Promise<Reply> {
    try {
      const url = parseUrl(incoming.url ?? '/')
      const match = route(incoming.method ?? 'GET', url.pathname)
      if (match instanceof Fault) throw match
      if (context.isEnding() && match.handle !== ping)
        throw fault('unavailable', 'this agent is ending and takes no orders any more', 'Ask another node')
      const request: ApiRequest = {
        method: incoming.method ?? 'GET',
        path: match.path,
        params: match.params,
        query: url.searchParams,
        accept: (incoming.headers.accept ?? '').toLowerCase(),
        relayed: isRelayed(incoming),
        hasRegistryAuth: hasRegistryAuth(incoming.headers[registryAuthHeader]),
        signal,
        json: () => readJson(incoming),
      }
      return await match.handle(context, request)
    } catch (thrown) {
      return failure(context, incoming, thrown)
    }
  }
}

/** From another agent: its streams are of the mesh, and what it asks for its client is marked. */
function isRelayed({ headers, socket }: IncomingMessage): boolean {
  return headers[relayedHeader] !== undefined || !(socket instanceof net.Socket)
}

function parseUrl(target: string): URL {
  try {
    return new URL(target, 'http://vine')
  } catch (cause) {
    throw fault('invalid', 'the path is not valid', undefined, cause)
  }
}

/** What answers itself; what the engine answers is passed on instead. */
type Answerable = Exclude<Reply, { readonly kind: 'engine' }>

function failure(context: ApiContext, incoming: IncomingMessage, thrown: unknown): Answerable {
  if (thrown instanceof Fault) {
    const body = {
      message: sentenceFor(incoming, thrown),
      code: thrown.code,
      ...(thrown.fix === undefined ? {} : { fix: thrown.fix }),
    }
    return { kind: 'json', status: statusOf[thrown.code], body }
  }
  context.log.error('An API request failed.', { path: incoming.url, reason: reasonOf(thrown) })
  return { kind: 'json', status: 500, body: { message: `the agent failed: ${reasonOf(thrown)}`, code: 'internal' } }
}

/** Docker's client prints the message alone. Where the sentence is not one of Docker's, which others may match, the remedy goes with it. */
function sentenceFor(incoming: IncomingMessage, { code, message, fix }: Fault): string {
  const isDocker = /^Docker-Client\//.test(incoming.headers['user-agent'] ?? '')
  return isDocker && (code === 'unsupported' || code === 'unavailable') && fix !== undefined
    ? `${message.replace(/\.$/, '')}. ${fix}`
    : message
}

/** Reads and drops the rest of a request, to a bound of bytes and time. */
function swallow(incoming: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let size = 0
    const timer = setTimeout(resolve, bodyTimeoutMs)
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > limits.apiBodyBytesMax) resolve()
    })
    incoming.on('close', () => clearTimeout(timer))
    incoming.on('end', () => resolve())
    incoming.on('close', () => resolve())
    incoming.on('error', () => resolve())
  })
}

async function readJson(incoming: IncomingMessage): Promise<unknown> {
  const text = await readText(incoming)
  if (text === '') throw fault('invalid', 'the request has no body; it must be JSON')
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw fault('invalid', `the body is not JSON: ${reasonOf(cause)}`, undefined, cause)
  }
}

/** What exceeds the bound is read and dropped, so that the client gets to read the answer. */
function readText(incoming: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const late = () => reject(fault('invalid', `the body did not come within ${bodyTimeoutMs / 1000} s`))
    const timer = setTimeout(late, bodyTimeoutMs)
    incoming.on('close', () => clearTimeout(timer))
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= limits.apiBodyBytesMax) chunks.push(chunk)
      else {
        chunks.length = 0
        reject(fault('too-large', `the body is larger than ${limits.apiBodyBytesMax} bytes`))
      }
    })
    incoming.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    incoming.on('error', (cause) => reject(fault('invalid', 'the request broke off', undefined, cause)))
    incoming.on('close', () => reject(fault('invalid', 'the request broke off')))
  })
}

async function send(
  reply: Answerable,
  incoming: IncomingMessage,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  if (response.destroyed) return
  // Docker sends these with every answer; clients negotiate by them.
  response.setHeader('Api-Version', apiVersion)
  response.setHeader('Docker-Experimental', 'false')
  response.setHeader('Ostype', 'linux')
  response.setHeader('Server', 'Grapevine')
  response.setHeader('Swarm', 'active/manager')
  response.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate')
  if (!incoming.complete) response.setHeader('Connection', 'close')
  const head = incoming.method === 'HEAD'
  switch (reply.kind) {
    case 'json': {
      if (reply.warnings !== undefined && reply.warnings.length > 0) {
        response.setHeader(warningsHeader, encodeURIComponent(JSON.stringify(reply.warnings)).slice(0, 8192))
      }
      return end(response, reply.status, 'application/json', head ? '' : `${JSON.stringify(reply.body)}\n`)
    }
    case 'text':
      for (const [name, value] of Object.entries(reply.headers ?? {})) response.setHeader(name, value)
      return end(response, reply.status, reply.type, head ? '' : reply.text)
    case 'empty':
      response.writeHead(reply.status)
      response.end(reply.after)
      return
    case 'stream':
      response.writeHead(200, { 'Content-Type': reply.type })
      response.flushHeaders()
      await pump(reply.chunks, response, gone)
  }
}

function end(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) })
  response.end(text)
}

/** Writes what comes, waits while the client does not read, and lets the source end when the client is gone. */
async function pump(
  chunks: AsyncIterable<Uint8Array | string>,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  for await (const chunk of chunks) {
    if (gone.aborted) return
    if (!response.write(chunk)) await drained(response)
  }
  response.end()
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}
