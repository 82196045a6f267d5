// A small world for the reconcile loop: nodes with views of their own, records that travel between them in 5 ms of virtual time,
// programs that run or end as told, and a membership that learns of deaths after a while. The whole simulator is test/sim.
// Long because it stands in for everything that the loop touches.

import type { Liveness, Member, Stamped, View } from '../../../agent/core/view.ts'
import type { StopHow } from '../../../agent/core/wanted.ts'
import { fault } from '../../../agent/fault.ts'
import { createDrainHandler } from '../../../agent/loops/drain.ts'
import { createHealthLoop } from '../../../agent/loops/health.ts'
import { createReconcileLoop, type ReconcileLoop } from '../../../agent/loops/reconcile.ts'
import { createRoutesLoop, type RoutesLoop } from '../../../agent/loops/routes.ts'
import { presets } from '../../../agent/presets.ts'
import type { Clock, Dataplane, Exit, NodeEvent, ObservedTask, Runtime, TaskPlan, Write } from '../../../agent/world.ts'
import type { Version } from '../../../protocol/hlc.ts'
import type { TaskId } from '../../../protocol/ids.ts'
import type { EndpointValue, NetworkValue, ServiceValue, TaskValue } from '../../../protocol/model.ts'
import { member, memberValue, type ServiceOptions, serviceValue, stamped, tasksIn } from '../placement/build.ts'

const gossipMs = 5
const deadAfterMs = 300

interface Maps {
  members: Map<string, Member>
  networks: Map<string, Stamped<NetworkValue>>
  services: Map<string, Stamped<ServiceValue>>
  tasks: Map<string, Stamped<TaskValue>>
  endpoints: Map<string, Map<string, Stamped<EndpointValue>>>
}

type Mutable = { -readonly [K in keyof View]: View[K] } & { readonly maps: Maps }

interface Record_ {
  readonly write: Write
  readonly version: Version
}

/** What a program does: how long until it listens, and what is missing. */
export interface Program {
  readonly listensAfterMs?: number
  readonly missingOn?: readonly string[]
  /** Nodes whose disk is full. */
  readonly noRoomOn?: readonly string[]
  /** Ends by itself so long after its start, with this code. */
  readonly ends?: { readonly afterMs: number; readonly code: number }
  /** Exit code of its health command. */
  readonly health?: () => number
}

export interface FakeNode {
  readonly id: string
  readonly view: Mutable
  readonly records: Map<string, Record_>
  readonly running: Map<string, { readonly plan: TaskPlan; readonly listensAtMs: number; observed: ObservedTask }>
  readonly events: NodeEvent[]
  readonly held: { networks: readonly string[] }
  loop: ReconcileLoop
  routes: RoutesLoop
  exits: ((task: string, exit: Exit) => void)[]
  losses: ((task: string, why: string) => void)[]
  alive: boolean
  need: number
}

export class FakeWorld {
  readonly nodes: Map<string, FakeNode> = new Map()
  readonly programs: Map<string, Program> = new Map()
  /** Pairs that do not hear each other: 'a b'. */
  readonly cuts: Set<string> = new Set()
  /** Whether programs listen for IPv6 too. */
  listensIpv6 = false
  /** Flows under way to a task. */
  readonly flows: Map<string, () => number> = new Map()
  /** Order in which programs were started and stopped, for tests that count. */
  readonly starts: { readonly node: string; readonly plan: TaskPlan; readonly atMs: number }[] = []
  /** Tasks of which nothing was to be left on their machine. */
  readonly removed: TaskId[] = []
  readonly stops: { readonly task: string; readonly how: StopHow; readonly atMs: number }[] = []
  nowMs = 1_000
  #timers: { atMs: number; order: number; task: () => void; cancelled: boolean }[] = []
  #order = 0
  #random = 1
  #versions = 0

  constructor(ids: readonly string[]) {
    for (const id of ids) this.nodes.set(id, this.#makeNode(id, ids))
  }

  async start(): Promise<this> {
    for (const node of this.nodes.values()) await this.#startLoops(node)
    return this
  }

  /** Lets virtual time pass. */
  async run(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    for (;;) {
      await flush()
      this.#timers = this.#timers.filter((t) => !t.cancelled).sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      const next = this.#timers[0]
      if (next === undefined || next.atMs > endMs) break
      this.#timers.shift()
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.task()
    }
    this.nowMs = endMs
    await flush()
  }

  /** Runs until the condition holds and says how many ms that took; fails after the limit. */
  async until(condition: () => boolean, limitMs = 20_000): Promise<number> {
    const fromMs = this.nowMs
    while (!condition()) {
      if (this.nowMs - fromMs > limitMs) throw new Error(`not so after ${limitMs} ms: ${condition}\n${this.story()}`)
      await this.run(10)
    }
    return this.nowMs - fromMs
  }

  createService(id: string, options: ServiceOptions = {}, from = this.#anyNode()): void {
    this.write(from, { scope: 'cluster', kind: 'service', id, value: serviceValue(id, options) })
  }

  write(node: FakeNode, write: Write): Version {
    const version = { ms: this.wall(), counter: this.#versions++ % 1000, node: node.id }
    this.#spread(node, { write: structuredClone(write), version })
    return version
  }

  node(id: string): FakeNode {
    return this.nodes.get(id) as FakeNode
  }

  /** SIGKILL of the agent and all that it runs. */
  kill(id: string): void {
    const node = this.node(id)
    node.alive = false
    node.loop.stop()
    node.routes.stop()
    node.running.clear()
    this.clock(node).after(0, () => {})
    this.after(deadAfterMs, () => {
      for (const other of this.nodes.values()) if (other.alive) this.setLiveness(other, id, 'dead')
    })
  }

  setLiveness(node: FakeNode, of: string, liveness: Liveness): void {
    const known = node.view.maps.members.get(of)
    if (known === undefined || known.liveness === liveness) return
    node.view.maps.members.set(of, { ...known, liveness, sinceMs: this.nowMs })
    this.#changed(node)
  }

  update(id: string, change: (m: Member) => Member): void {
    for (const node of this.nodes.values()) {
      node.view.maps.members.set(id, change(node.view.maps.members.get(id) as Member))
      this.#changed(node)
    }
  }

  /** Cuts two groups from each other; both see the others dead after a while. */
  cut(a: readonly string[], b: readonly string[]): void {
    for (const x of a) for (const y of b) for (const pair of [`${x} ${y}`, `${y} ${x}`]) this.cuts.add(pair)
    this.after(deadAfterMs, () => {
      if (this.cuts.size === 0) return
      for (const x of a) for (const y of b) this.setLiveness(this.node(x), y, 'dead')
      for (const y of b) for (const x of a) this.setLiveness(this.node(y), x, 'dead')
    })
  }

  heal(): void {
    this.cuts.clear()
    for (const node of this.nodes.values()) {
      for (const other of this.nodes.values()) if (other.alive) this.setLiveness(node, other.id, 'alive')
      for (const record of node.records.values()) this.#spread(node, record)
    }
  }

  /** A program of a task ends by itself. */
  exit(task: string, code: number, lastLine = ''): void {
    for (const node of this.nodes.values()) {
      if (!node.running.delete(task)) continue
      const exit = { code, signal: undefined, lastLine, atMs: this.wall() }
      for (const listener of node.exits) listener(task, exit)
    }
  }

  /** Live tasks that run, as the programs themselves would tell it: `node slot`. */
  runningOf(service: string): readonly { readonly node: string; readonly slot: string; readonly task: string }[] {
    return [...this.nodes.values()]
      .flatMap((n) => [...n.running.values()].map(({ plan }) => ({ node: n.id, ...plan })))
      .filter((p) => p.service === service)
      .map(({ node, slot, task }) => ({ node, slot, task }))
      .sort((a, b) => Number(a.slot) - Number(b.slot) || (a.node < b.node ? -1 : 1))
  }

  /** Records in state running, as seen from a node. */
  servingOf(service: string, from = this.#anyNode()) {
    return [...from.view.tasks.values()].filter((t) => t.value.service === service && t.value.state === 'running')
  }

  story(): string {
    return [...this.nodes.values()]
      .map(
        (n) =>
          `${n.id} ${n.alive ? '' : 'dead'}\n${[...n.view.tasks.values()].map((t) => `  ${t.id.slice(0, 6)} ${t.value.service}.${t.value.slot} ${t.value.node} ${t.value.state} ${t.value.message} ${t.value.error ?? ''}`).join('\n')}`,
      )
      .join('\n')
  }

  wall(): number {
    return 1_700_000_000_000 + this.nowMs
  }

  after(ms: number, task: () => void): () => void {
    const timer = { atMs: this.nowMs + Math.max(0, ms), order: this.#order++, task, cancelled: false }
    this.#timers.push(timer)
    return () => {
      timer.cancelled = true
    }
  }

  clock(node: FakeNode): Clock {
    return {
      now: () => this.nowMs,
      wall: () => this.wall(),
      after: (ms, task) => this.after(ms, () => (node.alive ? task() : undefined)),
      lagMs: () => 0,
    }
  }

  /** The agent alone is killed and started again; its programs go on. */
  async restartAgent(id: string): Promise<void> {
    const node = this.node(id)
    node.loop.stop()
    node.routes.stop()
    node.exits = []
    node.losses = []
    await this.#startLoops(node)
  }

  #anyNode(): FakeNode {
    return [...this.nodes.values()].find(({ alive }) => alive) as FakeNode
  }

  #makeNode(id: string, ids: readonly string[]): FakeNode {
    const maps: Maps = {
      members: new Map(ids.map((other) => [other, member(other)])),
      networks: new Map(),
      services: new Map(),
      tasks: new Map(),
      endpoints: new Map(),
    }
    const view: Mutable = {
      maps,
      self: id,
      revision: 0,
      settings: undefined,
      removals: new Map(),
      tokens: new Map(),
      guests: new Map(),
      ...maps,
      ...tasksIn(maps.tasks, id),
    }
    return {
      id,
      view,
      records: new Map(),
      running: new Map(),
      events: [],
      held: { networks: [] },
      loop: undefined as never,
      routes: undefined as never,
      exits: [],
      losses: [],
      alive: true,
      need: 0,
    }
  }

  async #startLoops(node: FakeNode): Promise<void> {
    const clock = this.clock(node)
    const log = { debug() {}, info() {}, warn() {}, error: (m: string, f?: object) => console.error(node.id, m, f) }
    const events = { emit: (event: Omit<NodeEvent, 'atMs'>) => void node.events.push({ ...event, atMs: this.nowMs }) }
    const { view } = node
    node.routes = createRoutesLoop({
      view,
      clock,
      log,
      events,
      onProblems: () => {},
      dataplane: { apply: async () => [] },
      routes: () => ({ revision: view.revision, published: [], services: [], tasks: [] }),
    })
    const runtime = this.#runtime(node)
    node.loop = createReconcileLoop({
      view,
      clock,
      log,
      events,
      runtime,
      writer: { put: (write) => this.write(node, write) },
      transport: { request: (to, kind, bytes) => this.#request(node, to, kind, bytes) },
      dataplane: this.#dataplane(node),
      health: createHealthLoop({ runtime, clock }),
      random: { next: () => this.#next(), bytes: (n) => Uint8Array.from({ length: n }, () => this.#next() * 256) },
      times: presets.local,
      stamp: () => ({ ms: this.wall(), counter: 0, node: node.id }),
      need: () => node.need,
      hold: (networks) => {
        node.held.networks = networks
      },
      whenRouted: (isGone, ms) => node.routes.whenRouted(isGone, ms),
    })
    node.routes.start()
    await node.loop.start()
  }

  async #request(from: FakeNode, to: string, _kind: string, bytes: Uint8Array): Promise<Uint8Array> {
    const other = this.node(to)
    const reachable = other.alive && !this.cuts.has(`${from.id} ${to}`)
    if (!reachable) throw fault('unavailable', `${to} is not connected`)
    const parts = {
      view: other.view,
      clock: this.clock(other),
      exchange: async () => true,
      whenRouted: other.routes.whenRouted,
    }
    return createDrainHandler(parts)(from.id, bytes)
  }

  #runtime(node: FakeNode): Runtime {
    const end = (task: string, exit: Exit) => {
      if (!node.running.delete(task)) return
      for (const listener of node.exits) listener(task, exit)
    }
    return {
      name: 'process',
      missing: async () => undefined,
      start: async (plan) => {
        const program = this.programs.get(plan.image) ?? {}
        if (program.noRoomOn?.includes(node.id)) throw fault('unavailable', 'no space left on device')
        if (program.missingOn?.includes(node.id)) throw fault('program-missing', `no program "${plan.image}"`)
        this.starts.push({ node: node.id, plan, atMs: this.nowMs })
        const pid = this.#order
        const observed = {
          task: plan.task,
          service: plan.service,
          slot: plan.slot,
          pid,
          running: true,
          exit: undefined,
          attachment: plan.attachment,
          stop: plan.stop,
        }
        const listensAtMs = this.nowMs + (program.listensAfterMs ?? 20)
        node.running.set(plan.task, { plan, listensAtMs, observed })
        const { ends } = program
        if (ends !== undefined) {
          this.after(ends.afterMs, () =>
            end(plan.task, { code: ends.code, signal: undefined, lastLine: 'it broke', atMs: this.wall() }),
          )
        }
        return { pid }
      },
      stop: async (task, how) => {
        this.stops.push({ task, how, atMs: this.nowMs })
        end(task, { code: 143, signal: undefined, lastLine: '', atMs: this.wall() })
      },
      list: async () => [...node.running.values()].map(({ observed }) => observed),
      onExit: (listener) => void node.exits.push(listener),
      exec: async (task) => ({
        code: this.programs.get(node.running.get(task)?.plan.image ?? '')?.health?.() ?? 0,
        output: 'probe',
      }),
      logs: () => (async function* () {})(),
      remove: async (task) => void this.removed.push(task),
      close: async () => {},
    }
  }

  #dataplane(
    node: FakeNode,
  ): Pick<Dataplane, 'attach' | 'adopt' | 'detach' | 'accepts' | 'servesIpv6' | 'active' | 'onLost'> {
    return {
      onLost: (listener) => void node.losses.push(listener),
      attach: async ({ task, networks, targets, fixed }) =>
        node.view.members.get(node.id)?.record.value.dataplane === 'linux'
          ? {
              host: networks[0]?.address ?? '',
              ports: targets.map((t) => ({ ...t, actual: t.target })),
              resolver: '10.0.0.1:10100',
              hostsFile: undefined,
              netns: `/run/netns/${task}`,
              listen: '0.0.0.0',
            }
          : {
              host: '127.0.0.1',
              ports: targets.map((t) => ({ ...t, actual: fixed.get(t.target) ?? 40_000 + (this.#order++ % 20_000) })),
              resolver: '127.0.0.1:53',
              hostsFile: undefined,
            },
      adopt: async () => {},
      detach: async () => {},
      servesIpv6: async () => this.listensIpv6,
      active: (task) => this.flows.get(task)?.() ?? 0,
      accepts: async (_host, port) =>
        [...node.running.values()].some(
          (r) => r.plan.attachment.ports.some((p) => p.actual === port) && r.listensAtMs <= this.nowMs,
        ),
    }
  }

  #spread(from: FakeNode, record: Record_): void {
    this.#apply(from, record)
    for (const to of this.nodes.values()) {
      if (to === from) continue
      this.after(gossipMs, () => {
        if (to.alive && !this.cuts.has(`${from.id} ${to.id}`)) this.#apply(to, record)
      })
    }
  }

  #apply(node: FakeNode, record: Record_): void {
    const { write, version } = record
    const key = `${write.scope} ${write.kind} ${write.id}`
    const held = node.records.get(key)
    if (held !== undefined && compare(held.version, version) >= 0) return
    node.records.set(key, record)
    const { maps } = node.view
    const value = write.value === null ? undefined : { ...stamped(write.id, write.value), version }
    if (write.kind === 'endpoint') {
      const network = write.scope.replace('network/', '')
      const endpoints = maps.endpoints.get(network) ?? new Map<string, Stamped<EndpointValue>>()
      maps.endpoints.set(network, endpoints)
      if (value === undefined) endpoints.delete(write.id)
      else endpoints.set(write.id, value as Stamped<EndpointValue>)
    } else if (write.kind === 'member') {
      maps.members.set(write.id, member(write.id, { value: memberValue(write.id, write.value as never) }))
    } else {
      const map = maps[`${write.kind}s` as 'tasks' | 'services' | 'networks'] as Map<string, unknown>
      if (value === undefined) map.delete(write.id)
      else map.set(write.id, value)
    }
    this.#changed(node)
  }

  #changed(node: FakeNode): void {
    node.view.revision += 1
    node.loop?.wake()
    node.routes?.wake()
  }

  /** A small generator (Park, Miller), so that every run of a test is the same. */
  #next(): number {
    this.#random = (this.#random * 48_271) % 2_147_483_647
    return this.#random / 2_147_483_647
  }
}

function compare(a: Version, b: Version): number {
  return a.ms - b.ms || a.counter - b.counter || (a.node < b.node ? -1 : a.node > b.node ? 1 : 0)
}

/** Lets promises that are due run; virtual time stands still. */
function flush(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
