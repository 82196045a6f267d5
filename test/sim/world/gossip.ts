// How a message spreads: its author tells all neighbours, each of them tells up to four of its own (gossipsub 1.1 with flood publishing).
// Copies get lost, and now and then the author's own telling gets lost whole. No repair: that is what anti-entropy is for.
import type { NodeId } from '../../../protocol/ids.ts'
import type { Chance } from './chance.ts'
import type { Net } from './net.ts'
import type { SimTime } from './time.ts'
import type { SimTransport } from './transport.ts'

export interface Rumour {
  readonly topic: string
  readonly from: NodeId
  readonly bytes: Uint8Array
  /** Transports that have it. */
  readonly heard: Set<SimTransport>
}

interface Surroundings {
  readonly time: SimTime
  readonly net: Net
  readonly chance: Chance
}

/** agent/transport/libp2p.ts: D is 3, D_high 5. */
const relayMax = 4
/** Part of messages that nobody hears at first hand: a mesh just pruned, a stream just reset. */
const lostWhole = 0.002
/** A message carries its author's key and signature, a sequence number and protobuf tags. */
const envelopeBytes = 150

export function spread(rumour: Rumour, author: SimTransport, around: Surroundings): void {
  if (around.net.gossipLoss > 0 && around.chance.one(lostWhole)) return
  tell(rumour, author, around, author.neighbours(rumour.topic))
}

function tell(rumour: Rumour, by: SimTransport, around: Surroundings, to: readonly SimTransport[]): void {
  const { time, net, chance } = around
  for (const other of to) {
    if (chance.one(net.gossipLoss)) continue
    net.send(by.machine, other.machine, {
      bytes: rumour.bytes.length + envelopeBytes,
      quiet: true,
      arrive() {
        if (rumour.heard.has(other) || other.process().state() === 'ended') return
        rumour.heard.add(other)
        time.after(0, () => other.hear(rumour))
        if (other.process().state() !== 'running') return
        const further = other.neighbours(rumour.topic).filter((next) => next !== by)
        tell(rumour, other, around, further.length <= relayMax ? further : chance.shuffled(further).slice(0, relayMax))
      },
    })
  }
}
