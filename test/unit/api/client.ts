// A real server on a socket of its own, and a client that sends what it is told: for tests of the API as its clients see it.
import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { type ApiServer, createApiServer } from '../../../agent/api/server.ts'
import { createFake, type Fake } from './fake.ts'

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly bytes: Buffer
  /** Parsed when it is JSON; undefined otherwise. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape; the contract test checks the shapes.
  readonly body: any
}

export interface Running {
  readonly fake: Fake
  readonly server: ApiServer
  readonly socket: string
  request(method: string, url: string, body?: unknown, headers?: http.OutgoingHttpHeaders): Promise<Answer>
  get(url: string): Promise<Answer>
  post(url: string, body: unknown): Promise<Answer>
  delete(url: string): Promise<Answer>
  stop(): Promise<void>
}

export async function startApi(fake: Fake = createFake()): Promise<Running> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vine-api-'))
  const socket = path.join(folder, 'vine.sock')
  const server = await createApiServer(fake.context, { socket })
  const request: Running['request'] = (method, url, body, headers = {}) => send(socket, { method, url, body, headers })
  return {
    fake,
    server,
    socket,
    request,
    get: (url) => request('GET', url),
    post: (url, body) => request('POST', url, body),
    delete: (url) => request('DELETE', url),
    stop: async () => {
      await server.close()
      fs.rmSync(folder, { recursive: true })
    },
  }
}

interface Sent {
  readonly method: string
  readonly url: string
  readonly body: unknown
  readonly headers: http.OutgoingHttpHeaders
}

function send(socket: string, { method, url, body, headers }: Sent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request({ socketPath: socket, method, path: url, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const bytes = Buffer.concat(chunks)
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes, body: parse(bytes) })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body))
  })
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

/** The smallest service that Docker's client would send. */
export function spec(name: string, more: Readonly<Record<string, unknown>> = {}) {
  return {
    Name: name,
    TaskTemplate: { ContainerSpec: { Image: 'node' } },
    Mode: { Replicated: { Replicas: 2 } },
    ...more,
  }
}
