/**
 * Spreads this node's own writes: the first at once, what follows within the batch time together (design.md 3), a topic for each scope.
 *
 * Nothing queued is ever dropped or overtaken, also when a scope is left and joined again: a number that is not sent is a hole at everybody
 * until the next sync. What gossip loses, sync brings. Relaying is the transport's.
 */
import { packedLength } from '../../protocol/codec.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { gossipMessage, gossipSchema, read } from '../../protocol/messages.ts'
import type { Scope, StateRecord } from '../../protocol/model.ts'
import { toWire } from '../../protocol/record.ts'
import type { Times } from '../presets.ts'
import type { ReplicatedView } from '../view.ts'
import type { Cancel, Clock, Transport } from '../world.ts'

export interface Gossip {
  /** The view's publish hook. */
  publish(scope: Scope, records: readonly StateRecord[]): void
  /** Call from Transport's onMessage; false when the topic is none of ours. */
  onMessage(topic: string, from: NodeId, bytes: Uint8Array): boolean
  /** Subscribes to the scopes that the view holds, and to no others. Call after start, holdScope and dropScope. */
  follow(): void
  stop(): void
}

export interface GossipOptions {
  readonly view: ReplicatedView
  readonly transport: Pick<Transport, 'publish' | 'subscribe' | 'unsubscribe'>
  readonly clock: Clock
  readonly times: Pick<Times, 'gossipBatchMs'>
}

const prefix = 'vine/'
/** Envelope of a message beside its records: scope name and field names. */
const envelopeBytes = 256

export function createGossip({ view, transport, clock, times }: GossipOptions): Gossip {
  const queues = new Map<Scope, StateRecord[]>()
  const followed = new Set<Scope>()
  let resting: Cancel | undefined

  function flush(): void {
    const sending = [...queues].sort((a, b) => (a[0] < b[0] ? -1 : 1))
    queues.clear()
    for (const [scope, records] of sending) {
      for (const batch of batches(records)) transport.publish(prefix + scope, gossipMessage(scope, batch))
    }
    resting = clock.after(times.gossipBatchMs, () => {
      resting = undefined
      if (queues.size > 0) flush()
    })
  }

  return {
    publish(scope, records) {
      const queue = queues.get(scope)
      if (queue === undefined) queues.set(scope, [...records])
      else queue.push(...records)
      if (resting === undefined) flush()
    },
    onMessage(topic, from, bytes) {
      if (!topic.startsWith(prefix)) return false
      const message = read(gossipSchema, bytes)
      if (message.kind === 'dropped') view.count(`gossip.${message.why}`)
      else if (prefix + message.value.scope !== topic) view.count('gossip.wrong-topic')
      else view.apply(message.value.scope, message.value.records, from)
      return true
    },
    follow() {
      const held = view.scopes()
      for (const scope of held) {
        if (followed.has(scope)) continue
        followed.add(scope)
        transport.subscribe(prefix + scope)
      }
      for (const scope of [...followed].sort()) {
        if (held.includes(scope)) continue
        followed.delete(scope)
        transport.unsubscribe(prefix + scope)
      }
    },
    stop() {
      resting?.()
    },
  }
}

function batches(records: readonly StateRecord[]): readonly (readonly unknown[])[] {
  const out: unknown[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const record of records) {
    const wire = toWire(record)
    const length = packedLength(wire)
    if (bytes + length > limits.gossipBytesMax - envelopeBytes) {
      out.push([])
      bytes = 0
    }
    out.at(-1)?.push(wire)
    bytes += length
  }
  return out
}
