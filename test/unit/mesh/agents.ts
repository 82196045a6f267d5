// Two meshes in this process, with a clock that a test may move.
import { createMesh } from '../../../agent/mesh/mesh.ts'
import { createClock } from '../../../agent/real.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'
import type { Clock, Mesh } from '../../../agent/world.ts'
import type { Flow, FlowHandler, ResetReason } from '../../../protocol/flow.ts'
import type { NodeId } from '../../../protocol/ids.ts'

export class Hearing implements FlowHandler {
  flow: Flow | undefined
  bytes = 0
  text = ''
  ended = false
  closed = false
  reset: ResetReason | undefined

  onAccepted(flow: Flow): void {
    this.flow = flow
  }
  onData(bytes: Uint8Array): void {
    this.bytes += bytes.length
    if (this.bytes < 1_000) this.text += Buffer.from(bytes).toString('latin1')
    this.flow?.consumed(bytes.length)
  }
  onEnd(): void {
    this.ended = true
  }
  onReset(reason: ResetReason): void {
    this.reset = reason
  }
  onWritable(): void {}
  onClosed(): void {
    this.closed = true
  }
  onDatagram(): void {}
}

export interface Pair {
  readonly a: Mesh
  readonly b: Mesh
  readonly idA: Identity
  readonly idB: Identity
  readonly members: Set<NodeId>
  /** Flows that b has taken. */
  readonly taken: Hearing[]
  close(): Promise<void>
}

export interface PairOptions {
  /** The key that really answers at b's address. */
  readonly answersAs?: Identity
  readonly clockA?: Clock
  /** Where b is said to listen. */
  readonly portB?: number
}

export async function meshes(options: PairOptions = {}): Promise<Pair> {
  const [idA, idB] = [createIdentity(), createIdentity()]
  const members = new Set([idA.nodeId, idB.nodeId])
  const ports = new Map<NodeId, number>()
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const one = (identity: Identity, clock: Clock) =>
    createMesh({
      identity,
      listen: [{ host: '127.0.0.1', port: 0 }],
      members: {
        isMember: (node) => members.has(node),
        meshAddresses: (node) => [{ host: '127.0.0.1', port: ports.get(node) ?? 1 }],
      },
      clock,
      log,
    })
  const a = await one(idA, options.clockA ?? createClock())
  const b = await one(options.answersAs ?? idB, createClock())
  ports.set(idA.nodeId, a.listening[0]!.port)
  ports.set(idB.nodeId, options.portB ?? b.listening[0]!.port)
  const taken: Hearing[] = []
  b.onFlow((flow) => {
    const hearing = new Hearing()
    hearing.flow = flow
    taken.push(hearing)
    flow.accept()
    return hearing
  })
  return {
    a,
    b,
    idA,
    idB,
    members,
    taken,
    async close() {
      await a.close()
      await b.close()
    },
  }
}

export const target = {
  kind: 'tcp',
  task: 't1',
  target: 80,
  client: { host: '192.0.2.1', port: 4_000 },
  entry: { host: '192.0.2.2', port: 80 },
  proxyProtocol: false,
} as const
