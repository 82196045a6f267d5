// An agent that answers from a table: node:http on a unix socket, Docker's documents as they stand in swagger.yaml. It keeps what it was
// asked, so that tests can look at paths, filters and bodies.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly body: unknown
}

/** A document (status 200), or a function of what was asked. */
export type Answer = object | ((asked: Asked) => Reply)
export interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly bytes?: Buffer
  readonly headers?: Readonly<Record<string, string>>
}

export interface FakeAgent {
  readonly socket: string
  readonly asked: readonly Asked[]
  close(): Promise<void>
}

/** Keys are `GET /services`. What is not there is answered 404 with Docker's body. */
export async function fakeAgent(answers: Readonly<Record<string, Answer>>): Promise<FakeAgent> {
  const directory = mkdtempSync(join(tmpdir(), 'vine-fake-'))
  const socket = join(directory, 'vine.sock')
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    answer(request, response, answers, asked)
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return {
    socket,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => {
          rmSync(directory, { recursive: true, force: true })
          resolve()
        })
      }),
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  answers: Readonly<Record<string, Answer>>,
  asked: Asked[],
) {
  const url = new URL(request.url ?? '/', 'http://vine')
  let text = ''
  for await (const chunk of request) text += chunk
  const call: Asked = {
    method: request.method ?? '',
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    body: text === '' ? undefined : JSON.parse(text),
  }
  asked.push(call)
  const found = answers[`${call.method} ${call.path}`]
  const reply: Reply =
    found === undefined
      ? { status: 404, body: { message: `page not found: ${call.path}` } }
      : typeof found === 'function'
        ? found(call)
        : { status: 200, body: found }
  response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers })
  response.end(reply.bytes ?? (reply.body === undefined ? '' : JSON.stringify(reply.body)))
}
