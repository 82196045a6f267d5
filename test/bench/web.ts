/**
 * The web service that the bench observes, and the client that asks every node for it: a new connection each time, no request forgotten.
 *
 * Afterwards each failure is held against the flow log of the node that was asked: it is excused only if its flow was open on what was lost,
 * before it was lost.
 */
import { request } from 'node:http'
import { isFree } from '../../agent/demo/agents.ts'
import { until } from '../until.ts'
import type { Machine, Moment, Swarm } from './swarm.ts'
import { type Watch, watchAll } from './watch.ts'

/** A real HTTP server: who answers, where, and where its resolver is. Told to stop, it ends the answers that are under way, as a server should. */
export const program = `const e = process.env
const s = require('http').createServer((q, r) => r.end([e.GRAPEVINE_TASK, e.GRAPEVINE_NODE, e.GRAPEVINE_DNS].join(' ') + '\\n'))
s.listen(e.PORT, e.GRAPEVINE_ADDRESS)
process.on('SIGTERM', () => s.close(() => process.exit()))`

export interface Asked {
  readonly via: string
  /** `address:port` of the client's socket; undefined when it never connected. */
  readonly client: string | undefined
  /** Monotonic ms. */
  readonly startedMs: number
  readonly tookMs: number
  readonly error: string | undefined
}

export interface Web {
  readonly port: number
  readonly replicas: number
  readonly watch: Watch
  readonly counts: { readonly requests: number; readonly failed: number }
  /** Failures since the last call. */
  takeFailures(): readonly Asked[]
  /** Waits until every machine that is up counts all slots running, on nodes that are ready. */
  settled(): Promise<void>
  stop(): void
}

export interface WebOptions {
  readonly replicas: number
  readonly restartDelayMs?: number
  /** Between two requests to one node. */
  readonly everyMs: number
}

const service = 'web'
/** A client's patience. */
const timeoutMs = 5_000

export async function serveWeb(swarm: Swarm, options: WebOptions): Promise<Web> {
  const { machines, first } = swarm
  const { replicas, everyMs, restartDelayMs = 5_000 } = options
  const port = await freePort(machines)
  await first.client.post('/networks/create', { Name: 'bench', Driver: 'overlay' })
  await first.client.post('/services/create', {
    Name: service,
    TaskTemplate: {
      ContainerSpec: { Image: 'node', Args: ['-e', program] },
      Networks: [{ Target: 'bench' }],
      RestartPolicy: { Condition: 'any', Delay: restartDelayMs * 1_000_000 },
    },
    Mode: { Replicated: { Replicas: replicas } },
    EndpointSpec: {
      Mode: 'vip',
      Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: port, PublishMode: 'ingress' }],
    },
  })
  const watch = watchAll(machines, service)
  const counts = { requests: 0, failed: 0 }
  let failures: Asked[] = []
  const timers = machines.map((machine) =>
    setInterval(() => {
      if (machine.state !== 'up') return
      ask(machine, port, (asked, resolver) => {
        if (resolver !== undefined) watch.learnResolver(...resolver)
        // The node asked was lost meanwhile: its own clients are lost with it, also those that are answered when it is back.
        if (machine.state !== 'up' || asked.startedMs <= machine.lostMs) return
        counts.requests += 1
        if (asked.error === undefined) return
        counts.failed += 1
        failures.push(asked)
      })
    }, everyMs),
  )
  const settled = async () => {
    await until(
      () => {
        const up = machines.filter(({ state }) => state === 'up')
        const seen = up.map((machine) => watch.last(machine))
        const isWell = seen.every(
          (one) =>
            one !== undefined &&
            performance.now() - one.atMs < 1_000 &&
            one.running.size === replicas &&
            one.ready.size === machines.length,
        )
        return (
          isWell || Promise.reject(new Error(JSON.stringify(seen.map((one) => [one?.ready.size, one?.running.size]))))
        )
      },
      { deadlineMs: 60_000, what: `${replicas} tasks to run as every node sees it` },
    )
  }
  const web: Web = {
    port,
    replicas,
    watch,
    counts,
    takeFailures() {
      const taken = failures
      failures = []
      return taken
    },
    settled,
    stop() {
      for (const timer of timers) clearInterval(timer)
      watch.stop()
    },
  }
  try {
    // The first requests meet no task; the count begins when all is well.
    await settled()
    await until(() => machines.some(watch.canResolve), { deadlineMs: 10_000, what: 'a resolver' })
  } catch (error) {
    web.stop()
    throw error
  }
  Object.assign(counts, { requests: 0, failed: 0 })
  failures = []
  return web
}

type Done = (asked: Asked, resolver: readonly [string, string] | undefined) => void

function ask(machine: Machine, port: number, done: Done): void {
  const startedMs = performance.now()
  let client: string | undefined
  let over = false
  const end = (error: string | undefined, resolver?: readonly [string, string]) => {
    if (over) return
    over = true
    done({ via: machine.name, client, startedMs, tookMs: performance.now() - startedMs, error }, resolver)
  }
  const asking = request({ host: machine.address, port, agent: false, timeout: timeoutMs }, (response) => {
    let body = ''
    response.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    response.on('end', () => {
      const [, node, resolver] = body.trim().split(' ')
      if (response.statusCode !== 200 || node === undefined) end(`answered ${response.statusCode}`)
      else end(undefined, resolver === undefined ? undefined : [node, resolver])
    })
    response.on('error', (error) => end(error.message))
  })
  asking.on('socket', (socket) =>
    socket.once('connect', () => {
      client = `${socket.localAddress}:${socket.localPort}`
    }),
  )
  asking.on('timeout', () => asking.destroy(new Error(`no answer within ${timeoutMs} ms`)))
  asking.on('error', (error) => end(error.message))
  asking.end()
}

export interface FlowLog {
  readonly open: readonly Flow[]
  readonly ended: readonly Flow[]
  readonly failed: readonly {
    readonly client: string
    readonly task: string
    readonly node: string
    pickedMs: number
  }[]
}

interface Flow {
  readonly client: string
  readonly task: string
  readonly node: string
  /** Since when the entry asked for it, and when it heard that the task accepted; wall ms. */
  readonly pickedMs: number
  readonly openedMs: number
  readonly cause?: string
}

export async function flowLog(machine: Machine, sinceWallMs: number): Promise<FlowLog> {
  return machine.client.get<FlowLog>('/grapevine/flows', { log: 1, since: (sinceWallMs / 1_000).toFixed(3) })
}

/** What was lost: a node with everything on it, or one task. */
export type Lost = { readonly node: string } | { readonly task: string }

/** Ms after the fault at which an endpoint of what was lost was picked for the last time on this machine; 0: never again. */
export function lastPickMs(log: FlowLog, lost: Lost, wallMs: number): number {
  const hit = (flow: { readonly node: string; readonly task: string }) => isOf(flow, lost)
  const picks = [
    ...log.failed.filter(hit).map(({ pickedMs }) => pickedMs),
    ...[...log.ended, ...log.open].filter(hit).map(({ pickedMs }) => pickedMs),
  ]
  return Math.max(0, ...picks.map((ms) => Math.round(ms - wallMs)))
}

/** Wall clocks tell whole ms, here and in the flow log. */
const clockGrainMs = 2

export interface Verdict extends Asked {
  readonly excused: boolean
  readonly why: string
}

/** Holds a failed request against the flow log of the node that was asked. `moment`: of the fault. */
export function judge(asked: Asked, log: FlowLog, lost: Lost, { atMs, wallMs }: Moment): Verdict {
  // A client's port is soon used again: the flow of an earlier request from it is none of this one.
  const sinceMs = wallMs + asked.startedMs - atMs - clockGrainMs
  const flow = [...log.ended, ...log.open].find(
    ({ client, pickedMs }) => client === asked.client && pickedMs >= sinceMs,
  )
  if (flow === undefined) return { ...asked, excused: false, why: 'its flow never opened' }
  // Who is gone accepts nothing: where it was asked before the fault and accepted, it did so before, however late the entry read the word.
  const excused = isOf(flow, lost) && flow.pickedMs <= wallMs
  const [asking, opened] = [flow.pickedMs, flow.openedMs].map((ms) => Math.round(ms - wallMs))
  return {
    ...asked,
    excused,
    why: `its flow on ${flow.node} was asked for at ${asking} ms, open at ${opened} ms from the fault: ${flow.cause}`,
  }
}

/** A request that failed while nothing was lost. */
export function notExcused(asked: Asked): Verdict {
  return { ...asked, excused: false, why: 'it failed before the fault' }
}

function isOf(flow: { readonly node: string; readonly task: string }, lost: Lost): boolean {
  return 'node' in lost ? flow.node === lost.node : flow.task === lost.task
}

export async function freePort(machines: readonly Machine[]): Promise<number> {
  for (let port = 8080; port < 8180; port++) {
    const free = await Promise.all(machines.map(({ address }) => isFree(address, port)))
    if (free.every(Boolean)) return port
  }
  throw new Error('no port from 8080 to 8179 is free')
}
