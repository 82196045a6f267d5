// An ApiContext over plain maps: what tests of the API stand on instead of a cluster. Writes apply at once; `run()` plays the part of the
// loops and puts a running task into every slot. Time and chance are set by the test.
import type { ApiContext, FlowCounters, LoggedFlow, RelayRequest, RelayResponse } from '../../../agent/api/context.ts'
import { slotViews } from '../../../agent/api/slots.ts'
import type { Member, Stamped, View } from '../../../agent/core/view.ts'
import { templateHash } from '../../../agent/core/wanted.ts'
import { fault } from '../../../agent/fault.ts'
import type { LogLine, LogQuery, NodeEvent, Write } from '../../../agent/world.ts'
import { compareVersions, type Version } from '../../../protocol/hlc.ts'
import type {
  EndpointValue,
  GuestValue,
  MemberValue,
  NetworkValue,
  ServiceValue,
  TaskValue,
  TokenValue,
} from '../../../protocol/model.ts'
import { tasksIn } from '../placement/build.ts'

export const nodeIds = ['1aaaaaaaaaaaaaaaaaaaaaaaa', '2bbbbbbbbbbbbbbbbbbbbbbbb', '3cccccccccccccccccccccccc'] as const
export const startMs = Date.UTC(2026, 10, 1)

type Mutable<M> = M extends ReadonlyMap<infer K, infer V> ? Map<K, V> : M

export interface Fake {
  readonly context: ApiContext
  readonly view: { -readonly [K in keyof View]: Mutable<View[K]> }
  /** Puts a running task into every slot that place() gives to a node. */
  run(): void
  putTask(id: string, value: Partial<TaskValue> & Pick<TaskValue, 'service' | 'slot' | 'node'>): void
  setLiveness(node: string, liveness: Member['liveness']): void
  emit(event: NodeEvent): void
  /** What the fake does on request; tests replace parts. */
  readonly set: Settable
}

export interface Settable {
  wallMs: number
  held: 'members' | 'here-only'
  clockOffsetMs: number
  need: number
  warnings: string[]
  unreached: string[]
  missing: string[]
  flows: FlowCounters[]
  flowLog: LoggedFlow[]
  stopped: { keepTasks: boolean } | undefined
  /** Another node's write comes between the handler's reading and its writing. */
  overtake: boolean
  lines: LogLine[]
  logs: ((task: string, query: LogQuery) => AsyncIterable<LogLine>) | undefined
  relay: (node: string, request: RelayRequest) => Promise<RelayResponse>
  listeners: number
}

export function createFake(): Fake {
  let counter = 0
  let drawn = 0
  const events: NodeEvent[] = []
  const listeners = new Set<(event: NodeEvent) => void>()
  const set: Settable = {
    wallMs: startMs,
    held: 'members',
    clockOffsetMs: 0,
    need: 0,
    warnings: [],
    unreached: [],
    missing: [],
    flows: [],
    flowLog: [],
    stopped: undefined,
    overtake: false,
    lines: [],
    logs: undefined,
    relay: async (node) => {
      throw fault('unavailable', `no connection to ${node}`)
    },
    listeners: 0,
  }
  const self = nodeIds[0]
  const author = { node: self, log: 'log' }
  const stamp = (): Version => ({ ms: set.wallMs + Math.floor(++counter / 1024), counter: counter % 1024, node: self })
  const stamped = <V>(id: string, value: V): Stamped<V> => ({ id, value, version: stamp(), author })
  const tasks = new Map<string, Stamped<TaskValue>>()
  const view: Fake['view'] = {
    self,
    revision: 1,
    settings: stamped('cluster', { name: 'test', created: stamp(), addressPool: '10.0.0.0/8' }),
    members: new Map(nodeIds.map((id, i) => [id, member(id, i, stamped(id, memberValue(i)))])),
    removals: new Map(),
    tokens: new Map<string, Stamped<TokenValue>>(),
    networks: new Map<string, Stamped<NetworkValue>>(),
    services: new Map<string, Stamped<ServiceValue>>(),
    ...tasksIn(tasks, self),
    tasks,
    endpoints: new Map<string, Map<string, Stamped<EndpointValue>>>(),
    guests: new Map<string, Stamped<GuestValue>>(),
  }

  const context: ApiContext = {
    view,
    engine: undefined,
    guests: undefined,
    agentVersion: '0.1.0',
    clock: { now: () => set.wallMs, wall: () => set.wallMs },
    random: {
      next: () => 0.5,
      bytes: (length) => Uint8Array.from({ length }, (_, i) => (i < 3 ? ++drawn : drawn * 7 + i)),
    },
    log: { debug() {}, info() {}, warn() {}, error() {} },
    stamp,
    writer: { commit: async (writes) => ({ versions: writes.map(apply), held: set.held }) },
    health: () => ({ need: set.need, clockOffsetMs: set.clockOffsetMs, warnings: set.warnings }),
    unreached: async () => set.unreached,
    events: {
      since: (ms) => events.filter((event) => event.atMs >= ms),
      subscribe: (listener) => {
        listeners.add(listener)
        set.listeners = listeners.size
        return () => {
          listeners.delete(listener)
          set.listeners = listeners.size
        }
      },
    },
    logs: (task, query) => set.logs?.(task, query) ?? linesOf(set.lines.filter((line) => line.task === task)),
    missingOn: async () => set.missing,
    relay: (node, request) => set.relay(node, request),
    resolve: async ({ name, type }) =>
      name === 'web'
        ? { code: 'NOERROR', answers: [{ name: 'web', type, ttlSeconds: 5, data: '10.0.1.2' }] }
        : { code: 'NXDOMAIN', answers: [] },
    tokens: {
      issue: async (ttlMs) => ({
        token: 'VINE-1-secret',
        join: 'vine agent --join /ip4/192.0.2.1/tcp/7766 --token VINE-1-secret',
        expiresMs: ttlMs === undefined ? undefined : set.wallMs + ttlMs,
        held: set.held,
      }),
      revokeAll: async () => set.held,
    },
    removeNode: async (node) => {
      view.members.delete(node)
      view.revision++
      return set.held
    },
    stop: (options) => {
      set.stopped = options
    },
    isEnding: () => set.stopped !== undefined,
    flows: () => set.flows,
    flowLog: (sinceMs) => ({
      open: [],
      ended: set.flowLog.filter(({ endedMs = 0 }) => endedMs >= sinceMs),
      failed: [],
    }),
    clean: async () => {},
    doctor: async () => [{ check: 'ports', ok: true, sentence: 'Ports 7766 and 7767 are open.' }],
    metrics: () => '# TYPE grapevine_need gauge\ngrapevine_need 0\n',
  }

  return {
    context,
    view,
    set,
    run: () => {
      for (const service of view.services.values()) {
        for (const report of slotViews(view, service, set.wallMs)) {
          if (report.task !== undefined || report.node === undefined) continue
          putTask(`${service.id.slice(0, 20)}${report.slot.padStart(5, '0')}`.slice(0, 25), {
            service: service.id,
            slot: report.slot,
            node: report.node,
          })
        }
      }
    },
    putTask,
    setLiveness: (node, liveness) => {
      const found = view.members.get(node)
      view.revision++
      if (found !== undefined) view.members.set(node, { ...found, liveness })
    },
    emit: (event) => {
      events.push(event)
      for (const listener of listeners) listener(event)
    },
  }

  function apply(write: Write): Version {
    const version = stamp()
    view.revision++
    const record = { id: write.id, version, author }
    if (write.expect !== undefined && set.overtake) throw fault('stale', 'not the version held here')
    if (write.expect !== undefined) {
      const held =
        write.kind === 'service' ? view.services.get(write.id)?.version : view.members.get(write.id)?.nodeVersion
      if (held === undefined || compareVersions(held, write.expect) !== 0)
        throw fault('stale', 'not the version held here')
    }
    if (write.kind === 'node') {
      const found = view.members.get(write.id)
      if (found !== undefined)
        view.members.set(write.id, { ...found, node: write.value as Member['node'], nodeVersion: version })
    } else if (write.kind === 'service' || write.kind === 'network') {
      const map = (write.kind === 'service' ? view.services : view.networks) as Map<string, unknown>
      if (write.value === null) map.delete(write.id)
      else map.set(write.id, { ...record, value: write.value })
    }
    return version
  }

  function putTask(id: string, value: Partial<TaskValue> & Pick<TaskValue, 'service' | 'slot' | 'node'>): void {
    const service = view.services.get(value.service)?.value
    view.revision++
    const boot = view.members.get(value.node)?.record.value.boot ?? 'none'
    const full = { ...taskValue(service, set.wallMs, stamp()), boot, ...value } as TaskValue
    view.tasks.set(id, stamped(id, full))
  }
}

async function* linesOf(lines: readonly LogLine[]): AsyncIterable<LogLine> {
  yield* lines
}

function member(id: string, i: number, record: Stamped<MemberValue>): Member {
  return {
    id,
    record,
    node: {
      spec: { Availability: 'active', Labels: { rack: `r${i}` } },
      created: { ms: startMs, counter: i, node: id },
    },
    liveness: 'alive',
    sinceMs: 0,
  }
}

function memberValue(i: number): MemberValue {
  return {
    name: `n${i + 1}`,
    peerId: `peer${i + 1}`,
    boot: `boot${i + 1}`,
    run: 'run',
    startedMs: startMs,
    presence: 'up',
    listen: [`/ip4/192.0.2.${i + 1}/tcp/7766`],
    mesh: [{ host: `192.0.2.${i + 1}`, port: 7767 }],
    addresses: [`192.0.2.${i + 1}`, '127.0.0.1'],
    networks: [],
    engineLabels: { disk: 'ssd' },
    platform: { os: 'linux', arch: 'x86_64' },
    resources: { nanoCpus: 2e9, memoryBytes: 4e9 },
    version: '0.1.0',
    runtimes: ['process'],
    dataplane: 'userspace',
  }
}

function taskValue(
  service: ServiceValue | undefined,
  wallMs: number,
  created: Version,
): Omit<TaskValue, 'service' | 'slot' | 'node' | 'boot'> {
  return {
    created,
    generation: service?.generation ?? 0,
    template: service === undefined ? 'none' : templateHash(service.spec),
    image: service?.spec.TaskTemplate.ContainerSpec.Image ?? 'none',
    state: 'running',
    stateMs: wallMs,
    message: 'started',
    pid: 4711,
    addresses: (service?.vips ?? []).map((vip) => ({
      network: vip.network,
      address: vip.address.replace(/\d+$/, '99'),
    })),
    ports: [],
  }
}
