/** What tests ask of a cluster from outside: services and tasks by the API, answers by the published ports. */

import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { until } from '../until.ts'
import type { Agent } from './cluster.ts'

export interface RunningTask {
  readonly id: string
  readonly slot: number
  /** Name of its node. */
  readonly node: string
  readonly pid: number
  readonly addresses: readonly string[]
}

interface ApiTask {
  readonly ID: string
  readonly Slot?: number
  readonly NodeID?: string
  readonly DesiredState: string
  readonly Status: {
    readonly State: string
    readonly Err?: string
    readonly ContainerStatus?: { readonly PID?: number }
  }
  readonly NetworksAttachments?: readonly { readonly Addresses?: readonly string[] }[]
}

/** A real HTTP server: who answers and where. It ends as a careful server does, after the requests that it has begun. */
export const webProgram = `const e = process.env
const s = require('http').createServer((q, r) => r.end(e.GRAPEVINE_NODE + ' ' + e.GRAPEVINE_TASK)).listen(e.PORT, e.GRAPEVINE_ADDRESS)
process.on('SIGTERM', () => s.close(() => process.exit()))`

/** Tasks that are to run and do, as this agent sees them, by slot. */
export async function runningTasks(agent: Pick<Agent, 'client'>, service: string): Promise<readonly RunningTask[]> {
  const filters = JSON.stringify({ service: [service], 'desired-state': ['running'] })
  const [tasks, nodes] = await Promise.all([
    agent.client.get<readonly ApiTask[]>('/tasks', { filters }),
    agent.client.get<readonly { readonly ID: string; readonly Description: { readonly Hostname: string } }[]>('/nodes'),
  ])
  const names = new Map(nodes.map((node) => [node.ID, node.Description.Hostname]))
  return tasks
    .filter((task) => task.Status.State === 'running')
    .map((task) => ({
      id: task.ID,
      slot: task.Slot ?? 0,
      node: names.get(task.NodeID ?? '') ?? '?',
      pid: task.Status.ContainerStatus?.PID ?? 0,
      addresses: (task.NetworksAttachments ?? []).flatMap((network) => network.Addresses ?? []),
    }))
    .sort((a, b) => a.slot - b.slot || (a.id < b.id ? -1 : 1))
}

/** Waits until exactly `count` tasks run, one a slot, as each of the agents sees it. Returns the first one's view. */
export async function runs(
  agents: readonly Pick<Agent, 'client'>[],
  service: string,
  count: number,
  deadlineMs = 15_000,
): Promise<readonly RunningTask[]> {
  return await until(
    async () => {
      const views = await Promise.all(agents.map((agent) => runningTasks(agent, service)))
      const ids = views.map((tasks) => tasks.map(({ id }) => id).join())
      const slots = new Set(views[0]?.map(({ slot }) => slot))
      if (ids.every((text) => text === ids[0]) && views[0]?.length === count && slots.size === count) return views[0]
      throw new Error(JSON.stringify(views.map((tasks) => tasks.map(({ node, slot }) => `${slot}@${node}`))))
    },
    { deadlineMs, everyMs: 50, what: `${count} tasks of ${service} to run` },
  )
}

/** The body that a published port answers with; a connection of its own each time. */
export function ask(host: string, port: number, deadlineMs = 3_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const asking = request({ host, port, agent: false, timeout: deadlineMs }, (answer) => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (text: string) => {
        body += text
      })
      answer.on('end', () => resolve(body))
      answer.on('error', reject)
    })
    asking.on('timeout', () => asking.destroy(new Error(`no answer from ${host}:${port} in ${deadlineMs} ms`)))
    asking.on('error', reject)
    asking.end()
  })
}

export interface Asker {
  /** Requests so far, and a line for each that failed. */
  readonly asked: number
  readonly failures: readonly string[]
  stop(): Promise<void>
}

/** Asks each of the hosts, one request after another, until it is stopped. */
export function keepAsking(hosts: readonly string[], port: number): Asker {
  let asked = 0
  const failures: string[] = []
  const underWay = new Map<string, Promise<void>>()
  async function askOnce(host: string): Promise<void> {
    const began = performance.now()
    await ask(host, port).catch((error: unknown) => {
      failures.push(`${host} after ${Math.round(performance.now() - began)} ms: ${String(error)}`)
    })
    asked++
    underWay.delete(host)
  }
  // 50 requests a second: enough to meet every moment of a change, and no load.
  const timers = hosts.map((host) =>
    setInterval(() => {
      if (!underWay.has(host)) underWay.set(host, askOnce(host))
    }, 20),
  )
  return {
    get asked() {
      return asked
    },
    failures,
    async stop() {
      for (const timer of timers) clearInterval(timer)
      await Promise.all(underWay.values())
    },
  }
}

/** Answers each connection with what it sends. */
export const echoProgram = `const e = process.env
require('net').createServer({ allowHalfOpen: true }, (s) => s.on('error', () => s.destroy()).pipe(s)).listen({ port: e.PORT, host: e.GRAPEVINE_ADDRESS, backlog: 4096 })`

/** A connection to an echo server that stays open. */
export interface Caller {
  /** Sends a word and resolves when it has come back, rejects when the connection ends or after the deadline. */
  say(word: string, deadlineMs: number): Promise<void>
  isOpen(): boolean
  hangUp(): void
}

/** Does not wait for the connection: whoever is not let in yet waits with its first word. */
export function call(host: string, port: number): Caller {
  const socket: Socket = connect({ host, port })
  let heard = ''
  let closed: Error | undefined
  socket.setEncoding('utf8').on('data', (text: string) => {
    heard += text
  })
  socket.on('error', (error) => {
    closed = error
  })
  socket.on('close', () => {
    closed ??= new Error('the connection was closed')
  })
  return {
    say(word, deadlineMs) {
      const wanted = heard.length + word.length
      socket.write(word)
      return new Promise((resolve, reject) => {
        const look = () => {
          if (heard.length >= wanted) settle(undefined)
          else if (closed !== undefined) settle(closed)
        }
        const timer = setTimeout(() => settle(new Error(`no echo in ${deadlineMs} ms`)), deadlineMs)
        const settle = (error: Error | undefined) => {
          clearTimeout(timer)
          socket.off('data', look)
          socket.off('close', look)
          if (error === undefined) resolve()
          else reject(error)
        }
        socket.on('data', look)
        socket.on('close', look)
        look()
      })
    },
    isOpen: () => closed === undefined,
    hangUp: () => void socket.destroy(),
  }
}
