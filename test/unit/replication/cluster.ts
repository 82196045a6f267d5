// Views, gossip, sync and janitor of several nodes in one process, over a wire that encodes, loses and reorders, on virtual time.
// Everything is decided by the seed, so a failing run is replayed by its number.

import { fault } from '../../../agent/fault.ts'
import { openJournal } from '../../../agent/journal.ts'
import { createGossip, type Gossip } from '../../../agent/loops/gossip.ts'
import { createJanitor, type Janitor } from '../../../agent/loops/janitor.ts'
import { createSync, type Sync } from '../../../agent/loops/sync.ts'
import { presets } from '../../../agent/presets.ts'
import { openView } from '../../../agent/replica/open.ts'
import type { ReplicatedView, ViewOptions } from '../../../agent/view.ts'
import type { Clock, Disk, Log, NodeEvent, Random, Transport } from '../../../agent/world.ts'
import type { EndpointValue, MemberValue, ServiceValue, TaskValue } from '../../../protocol/model.ts'

export function createRandom(seed: number): Random {
  let state = seed >>> 0
  /** mulberry32 */
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return { next, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)) }
}

export interface VirtualClock extends Clock {
  /** Runs what is due within `ms`, letting promises settle in between. */
  advance(ms: number): Promise<void>
  wallOffsetMs: number
}

interface Timer {
  readonly at: number
  readonly order: number
  readonly task: () => void
}

export function createTime(): { clock(): VirtualClock; advance(ms: number): Promise<void> } {
  let now = 0
  let order = 0
  const timers = new Set<Timer>()
  async function advance(ms: number): Promise<void> {
    const end = now + ms
    for (;;) {
      await settle()
      const due = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0]
      if (due === undefined) break
      timers.delete(due)
      now = Math.max(now, due.at)
      due.task()
    }
    now = end
    await settle()
  }
  function clock(): VirtualClock {
    const self: VirtualClock = {
      wallOffsetMs: 0,
      now: () => now,
      wall: () => 1_800_000_000_000 + now + self.wallOffsetMs,
      lagMs: () => 0,
      after(ms, task) {
        const timer = { at: now + ms, order: order++, task }
        timers.add(timer)
        return () => timers.delete(timer)
      },
      advance,
    }
    return self
  }
  return { clock, advance }
}

/** Long enough for any chain of promises here; virtual time stands still meanwhile. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

export interface MemoryDisk extends Disk {
  readonly files: Map<string, Uint8Array>
  full: boolean
  copy(): MemoryDisk
}

export function createDisk(files = new Map<string, Uint8Array>()): MemoryDisk {
  const check = (): void => {
    if (disk.full)
      throw fault('unavailable', 'Cannot append to state: no space left on device', 'Free space on the disk')
  }
  const disk: MemoryDisk = {
    files,
    full: false,
    copy: () => createDisk(new Map(files)),
    read: async (name) => files.get(name),
    async write(name, bytes) {
      check()
      files.set(name, Uint8Array.from(bytes))
    },
    async append(name, bytes) {
      check()
      files.set(name, Uint8Array.from([...(files.get(name) ?? []), ...bytes]))
    },
    async setAside(name) {
      files.set(`${name}.broken-1`, files.get(name) as Uint8Array)
      files.delete(name)
      return `${name}.broken-1`
    },
    async remove(name) {
      files.delete(name)
    },
  }
  return disk
}

export const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} }

export interface TestNode {
  readonly id: string
  readonly view: ReplicatedView
  readonly gossip: Gossip
  readonly sync: Sync
  readonly janitor: Janitor
  readonly disk: MemoryDisk
  readonly clock: VirtualClock
  readonly events: Omit<NodeEvent, 'atMs'>[]
  readonly duplicates: { readonly yields: boolean }[]
  readonly published: string[]
  /** As a power cut: nothing more is sent, received or written. */
  crash(): void
}

export interface Net {
  readonly nodes: Map<string, TestNode>
  /** Share of gossip messages that vanish. */
  loss: number
  readonly cut: Set<string>
  /** Whose connections are not kept: opened for one question. */
  readonly visitors: Set<string>
  advance(ms: number): Promise<void>
  add(id: string, options?: AddOptions): Promise<TestNode>
  connect(a: string, b: string): void
  digestsEqual(scope?: 'cluster' | `network/${string}`): boolean
}

export interface AddOptions {
  readonly disk?: MemoryDisk
  readonly run?: string
  readonly networks?: readonly string[]
  /** Name of its place in the net, where two run under one id. */
  readonly place?: string
  readonly withoutMember?: boolean
  readonly absentMaxMs?: number
  readonly wallOffsetMs?: number
}

export function createNet(seed = 1): Net {
  const time = createTime()
  const random = createRandom(seed)
  const nodes = new Map<string, TestNode>()
  const cut = new Set<string>()
  const dead = new Set<TestNode>()
  let runs = 0

  const reachable = (a: string, b: string): boolean => a !== b && nodes.has(a) && nodes.has(b) && !cut.has(`${a}>${b}`)

  const net: Net = {
    nodes,
    loss: 0,
    cut,
    visitors: new Set(),
    advance: time.advance,
    async add(id, options = {}) {
      const place = options.place ?? id
      const clock = time.clock()
      clock.wallOffsetMs = options.wallOffsetMs ?? 0
      const disk = options.disk ?? createDisk()
      const events: Omit<NodeEvent, 'atMs'>[] = []
      const duplicates: { yields: boolean }[] = []
      const published: string[] = []
      const run = options.run ?? `run-${runs++}`
      const subscribed = new Set<string>()
      const nodeRandom = createRandom(Math.floor(random.next() * 2 ** 31))
      const viewOptions: ViewOptions = {
        self: id,
        run,
        startedMs: clock.wall(),
        clock,
        random: nodeRandom,
        journal: await openJournal({ disk, clock, log: quiet }),
        log: quiet,
        events: { emit: (event) => events.push(event) },
        onDuplicate: (found) => duplicates.push(found),
      }
      const view = await openView(viewOptions)
      const transport: Pick<Transport, 'publish' | 'subscribe' | 'unsubscribe' | 'request' | 'connected' | 'keeps'> = {
        publish(topic, bytes) {
          published.push(topic)
          for (const [other, node] of nodes) {
            // Two under one id are one to those who relay: nothing goes back to where it came from.
            if (node.id === id || !reachable(place, other) || random.next() < net.loss) continue
            const copy = Uint8Array.from(bytes)
            // Up to 100 ms, so messages overtake one another.
            clock.after(random.next() * 100, () => {
              if (!dead.has(node) && nodes.get(other) === node && isSubscribed(node, topic))
                node.gossip.onMessage(topic, id, copy)
            })
          }
        },
        subscribe: (topic) => subscribed.add(topic),
        unsubscribe: (topic) => subscribed.delete(topic),
        async request(to, kind, bytes) {
          const place2 = [...nodes.keys()].find((name) => nodes.get(name)?.id === to && reachable(place, name))
          const target = place2 === undefined ? undefined : nodes.get(place2)
          if (target === undefined) throw fault('unavailable', 'not connected')
          const answer = await target.sync.onRequest(id, kind, Uint8Array.from(bytes))
          if (answer === undefined) throw fault('unavailable', 'unknown kind')
          return Uint8Array.from(answer)
        },
        keeps: (other) => !net.visitors.has(id) && !net.visitors.has(other),
        connected: () =>
          [
            ...new Set(
              [...nodes.keys()].filter((other) => reachable(place, other)).map((other) => nodes.get(other)!.id),
            ),
          ]
            .filter((other) => other !== id)
            .sort(),
      }
      const times = presets.local
      const gossip = createGossip({ view, transport, clock, times })
      const sync = createSync({ view, transport, clock, random: nodeRandom, log: quiet, times })
      view.attach({
        publish: gossip.publish,
        connected: transport.connected,
        pushDurably: sync.pushDurably,
        hurry: sync.hurry,
      })
      const janitor = createJanitor({
        view,
        sync,
        clock,
        log: quiet,
        ...(options.absentMaxMs === undefined ? {} : { absentMaxMs: options.absentMaxMs }),
      })
      const node: TestNode = {
        id,
        view,
        gossip,
        sync,
        janitor,
        disk,
        clock,
        events,
        duplicates,
        published,
        crash() {
          dead.add(node)
          if (nodes.get(place) === node) nodes.delete(place)
          gossip.stop()
          sync.stop()
          janitor.stop()
        },
      }
      topicsOf.set(node, subscribed)
      nodes.set(place, node)
      for (const network of options.networks ?? []) view.holdScope(`network/${network}`)
      gossip.follow()
      if (options.withoutMember !== true) {
        view.put({
          scope: 'cluster',
          kind: 'member',
          id,
          value: memberValue({ run, startedMs: viewOptions.startedMs, networks: [...(options.networks ?? [])] }),
        })
      }
      sync.start()
      for (const other of nodes.values()) if (other !== node) other.sync.onConnected(id)
      await time.advance(50)
      for (const one of nodes.values())
        for (const other of nodes.values())
          if (one.view.members.has(other.id) || one === other) one.view.setLiveness(other.id, 'alive', clock.now())
      return node
    },
    connect(a, b) {
      cut.delete(`${a}>${b}`)
      cut.delete(`${b}>${a}`)
      nodes.get(a)?.sync.onConnected(b)
      nodes.get(b)?.sync.onConnected(a)
    },
    digestsEqual(scope = 'cluster') {
      const holders = [...nodes.values()].filter((node) => node.view.holds(scope))
      const [first, ...rest] = holders.map((node) => JSON.stringify([...node.view.digest(scope)]))
      return rest.every((digest) => digest === first)
    },
  }
  return net
}

const topicsOf = new WeakMap<TestNode, Set<string>>()

function isSubscribed(node: TestNode, topic: string): boolean {
  return topicsOf.get(node)?.has(topic) === true
}

export function memberValue(over: Partial<MemberValue> = {}): MemberValue {
  return {
    name: 'n',
    peerId: 'p',
    boot: 'b',
    run: 'r',
    startedMs: 0,
    presence: 'up',
    listen: [],
    mesh: [],
    addresses: [],
    networks: [],
    engineLabels: {},
    platform: { os: 'linux', arch: 'x64' },
    resources: { nanoCpus: 1, memoryBytes: 1 },
    version: '1',
    runtimes: [],
    dataplane: 'userspace',
    ...over,
  }
}

export function serviceValue(name: string, over: Partial<ServiceValue> = {}): ServiceValue {
  return {
    spec: { Name: name, TaskTemplate: { ContainerSpec: { Image: 'sleep' } } },
    created: { ms: 1, counter: 0, node: 'n1' },
    ancestors: [],
    generation: 1,
    vips: [],
    ports: [],
    updatedMs: 1,
    ...over,
  }
}

export function taskValue(node: string, over: Partial<TaskValue> = {}): TaskValue {
  return {
    service: 's1',
    slot: '1',
    node,
    boot: 'b',
    created: { ms: 1, counter: 0, node },
    generation: 1,
    template: 't',
    image: 'sleep',
    state: 'running',
    stateMs: 1,
    message: 'started',
    addresses: [],
    ports: [],
    ...over,
  }
}

export function endpointValue(node: string, over: Partial<EndpointValue> = {}): EndpointValue {
  return {
    service: 's1',
    slot: '1',
    node,
    boot: 'b',
    address: '10.0.0.9',
    host: '127.0.0.1',
    ports: [],
    aliases: [],
    hostname: 'h',
    ready: true,
    draining: false,
    ...over,
  }
}
