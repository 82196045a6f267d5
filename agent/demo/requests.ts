/**
 * The client of the demo: asks the published port of every node, over and over, a new connection each time, and keeps account.
 */
import { http } from '../http.ts'
import type { Machine } from './agents.ts'

/** One answered or failed request. */
export interface Asked {
  readonly via: string
  /** Monotonic ms. */
  readonly startedMs: number
  readonly endedMs: number
  /** The task that answered, as it said itself. */
  readonly task: string | undefined
  readonly error: string | undefined
}

export interface Requests {
  readonly counts: { requests: number; failed: number }
  /** Failed ones, oldest first, and the last few of all. */
  readonly failures: readonly Asked[]
  /** What the tasks said of themselves: their node's resolver by node. */
  readonly resolvers: ReadonlyMap<string, string>
  /** Requests a second, lately. */
  rate(): number
  onAnswer(listener: (asked: Asked) => void): void
  stop(): void
}

/** 25 requests a second to each node: a gap of 40 ms is seen, and two cores hardly feel it. */
const everyMs = 40
/** A client's patience; Docker's own mesh makes it wait 15 s here. */
const timeoutMs = 5_000
const failuresMax = 200

/** Machines that are known to be down are not asked: a request to a machine without power is nobody's failure. */
export function askAll(machines: readonly Machine[], port: number): Requests {
  const counts = { requests: 0, failed: 0 }
  const failures: Asked[] = []
  const resolvers = new Map<string, string>()
  const listeners: ((asked: Asked) => void)[] = []
  const recent: number[] = []
  let stopped = false

  function done(asked: Asked, machine: Machine): void {
    // The node asked went down meanwhile: its own clients are lost with it.
    if (stopped || (asked.error !== undefined && machine.state !== 'up')) return
    counts.requests += 1
    recent.push(asked.endedMs)
    while ((recent[0] ?? 0) < asked.endedMs - 1_000) recent.shift()
    if (asked.error !== undefined) {
      counts.failed += 1
      failures.push(asked)
      if (failures.length > failuresMax) failures.shift()
    }
    for (const listener of listeners) listener(asked)
  }

  const timers = machines.map((machine) =>
    setInterval(() => {
      if (machine.state !== 'up') return
      const startedMs = performance.now()
      ask(machine.address, port, (task, resolver, error) => {
        if (resolver !== undefined) resolvers.set(resolver.node, resolver.address)
        done({ via: machine.name, startedMs, endedMs: performance.now(), task, error }, machine)
      })
    }, everyMs),
  )

  return {
    counts,
    failures,
    resolvers,
    rate: () => recent.filter((at) => at > performance.now() - 1_000).length,
    onAnswer: (listener) => void listeners.push(listener),
    stop() {
      stopped = true
      for (const timer of timers) clearInterval(timer)
    },
  }
}

type Done = (
  task: string | undefined,
  resolver: { node: string; address: string } | undefined,
  error: string | undefined,
) => void

function ask(host: string, port: number, done: Done): void {
  let over = false
  const end: Done = (...outcome) => {
    if (over) return
    over = true
    done(...outcome)
  }
  const asking = http.request({ host, port, agent: false, timeout: timeoutMs }, (response) => {
    let body = ''
    response.setEncoding('utf8')
    response.on('data', (chunk) => {
      body += chunk
    })
    response.on('end', () => {
      const [task, node, address] = body.trim().split(' ')
      const resolver = node === undefined || address === undefined ? undefined : { node, address }
      if (response.statusCode === 200 && task !== undefined) end(task, resolver, undefined)
      else end(undefined, undefined, `answered ${response.statusCode}`)
    })
    response.on('error', (error) => end(undefined, undefined, error.message))
    response.on('aborted', () => end(undefined, undefined, 'the answer broke off'))
  })
  asking.on('timeout', () => asking.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
  asking.on('error', (error) => end(undefined, undefined, error.message))
  asking.end()
}
