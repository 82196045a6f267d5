// What a Docker engine is to the agent, in little: a program that answers HTTP on a unix socket. Tests set what it answers and see what it was asked.
import fs from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import os from 'node:os'
import path from 'node:path'
import type { Duplex } from 'node:stream'

export interface FakeEngine {
  readonly socket: string
  /** Requests so far, `GET /info`, those of the agent itself among them. */
  readonly asked: string[]
  /** Answers by `GET /info` or `/info`, without query; a value is answered as JSON with 200. */
  readonly answers: Map<string, unknown | ((incoming: IncomingMessage, response: ServerResponse) => void)>
  /** Where a request with an upgrade goes. */
  upgrade: (incoming: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** It takes requests and answers none. */
  hangs: boolean
  stop(): Promise<void>
}

export async function startEngine(): Promise<FakeEngine> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fake-engine-'))
  const socket = path.join(folder, 'docker.sock')
  const server = http.createServer((incoming, response) => {
    const { method, url = '' } = incoming
    const key = url.replace(/^\/v1\.\d+/, '').replace(/\?.*$/, '')
    engine.asked.push(`${method} ${url}`)
    if (engine.hangs) return
    const found = engine.answers.get(`${method} ${key}`) ?? engine.answers.get(key)
    if (typeof found === 'function') return found(incoming, response)
    const status = found === undefined ? 404 : 200
    response.writeHead(status, { 'Content-Type': 'application/json', 'Api-Version': '1.41', 'Builder-Version': '2' })
    response.end(JSON.stringify(found ?? { message: 'page not found' }))
  })
  const engine: FakeEngine = {
    socket,
    asked: [],
    answers: new Map<string, unknown>([['/_ping', 'OK']]),
    upgrade: (_incoming, joined) => joined.destroy(),
    hangs: false,
    stop: async () => {
      for (const open of upgraded) open.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      fs.rmSync(folder, { recursive: true })
    },
  }
  const upgraded = new Set<Duplex>()
  server.on('upgrade', (incoming, joined, head) => {
    upgraded.add(joined)
    joined.on('error', () => joined.destroy())
    engine.upgrade(incoming, joined, head)
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return engine
}
