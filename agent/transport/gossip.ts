/**
 * Topics: what is published goes out signed by libp2p, what arrives is handed on only when a member wrote it.
 *
 * Every message is wrapped: format, and for the first minute after an admission the writer's certificate, so that nodes which have not heard of a
 * newcomer can check it offline and pass its first words on. What a non-member wrote is dropped and counted, never forwarded.
 */
import { type GossipSub, type Message, TopicValidatorResult } from '@libp2p/gossipsub'
import type { PeerId } from '@libp2p/interface'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { assert } from '../fault.ts'
import { nodeIdOf } from '../trust/identity.ts'

export interface GossipOptions {
  readonly gossip: GossipSub
  /** Own certificate while others may not know us yet. */
  readonly introduction: () => Uint8Array | undefined
  /** Whether what this node wrote counts; `certificate` is what came with the message. */
  readonly accepts: (writer: NodeId, certificate: Uint8Array | undefined) => boolean
  readonly onMessage: (topic: string, from: NodeId, bytes: Uint8Array) => void
  readonly dropped: (what: string) => void
}

export interface Gossip {
  publish(topic: string, bytes: Uint8Array): void
  subscribe(topic: string): void
  unsubscribe(topic: string): void
}

const format = 1
const headBytes = 3
/** The largest message that the codec may send (one record), a certificate and the head. */
const messageBytesMax = limits.recordBytesMax + 8 * 1024

export function topics(options: GossipOptions): Gossip {
  const { gossip } = options

  gossip.addEventListener('message', (event) => {
    const { detail } = event
    if (detail.type !== 'signed') return
    const opened = unwrap(detail.data)
    const from = writerOf(detail)
    if (opened !== undefined && from !== undefined) options.onMessage(detail.topic, from, opened.bytes)
  })

  function judge(_relay: PeerId, message: Message): TopicValidatorResult {
    const writer = writerOf(message)
    const opened = unwrap(message.data)
    if (writer === undefined || opened === undefined) {
      options.dropped('malformed gossip')
      return TopicValidatorResult.Ignore
    }
    if (options.accepts(writer, opened.certificate)) return TopicValidatorResult.Accept
    options.dropped('gossip of strangers')
    // Not Reject: the relay is a member that may know more than we do.
    return TopicValidatorResult.Ignore
  }

  function publish(topic: string, bytes: Uint8Array): void {
    assert(bytes.length <= limits.recordBytesMax, 'a gossip message holds at most one record of full size')
    gossip.publish(topic, wrap(bytes, options.introduction())).catch(() => options.dropped('own gossip'))
  }

  function subscribe(topic: string): void {
    gossip.topicValidators.set(topic, judge)
    gossip.subscribe(topic)
  }

  function unsubscribe(topic: string): void {
    gossip.unsubscribe(topic)
    gossip.topicValidators.delete(topic)
  }

  return { publish, subscribe, unsubscribe }
}

export function wrap(bytes: Uint8Array, certificate: Uint8Array | undefined): Uint8Array {
  const length = certificate?.length ?? 0
  const wrapped = new Uint8Array(headBytes + length + bytes.length)
  wrapped[0] = format
  wrapped[1] = length >> 8
  wrapped[2] = length & 255
  if (certificate !== undefined) wrapped.set(certificate, headBytes)
  wrapped.set(bytes, headBytes + length)
  return wrapped
}

export function unwrap(
  data: Uint8Array,
): { readonly bytes: Uint8Array; readonly certificate: Uint8Array | undefined } | undefined {
  if (data.length < headBytes || data.length > messageBytesMax || data[0] !== format) return undefined
  const end = headBytes + ((data[1]! << 8) | data[2]!)
  if (end > data.length) return undefined
  return {
    bytes: Uint8Array.from(data.subarray(end)),
    certificate: end === headBytes ? undefined : data.subarray(headBytes, end),
  }
}

/** StrictSign has checked that the key is the writer's and that it signed. */
function writerOf(message: Message): NodeId | undefined {
  if (message.type !== 'signed' || message.from.type !== 'Ed25519') return undefined
  return nodeIdOf(message.from.publicKey.raw)
}
