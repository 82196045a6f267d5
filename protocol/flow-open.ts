/**
 * What an OPEN asks for: a port of a task, or a stream to the other agent's API. Sent by one agent, read by the one that hosts the task.
 *
 * Layout: kind, flags, target port, client port, entry port, then three texts with a length byte: task, client host, entry host.
 * Addresses are told, not proven: members trust each other (design.md 11).
 */
import type { TaskId } from './ids.ts'

export interface FlowAddress {
  readonly host: string
  readonly port: number
}

/** A TCP connection or a UDP exchange of one client with one target port of one task. */
export interface TaskTarget {
  readonly kind: 'tcp' | 'udp'
  readonly task: TaskId
  /** The port in the service's words; the hosting agent knows the real one. */
  readonly target: number
  readonly client: FlowAddress
  /** What the client connected to, for PROXY protocol. */
  readonly entry: FlowAddress
  /** Begin with a PROXY protocol v2 header. */
  readonly proxyProtocol: boolean
}

export type FlowTarget = TaskTarget | { readonly kind: 'api' }

const kinds = ['tcp', 'udp', 'api'] as const
const fixedBytes = 8

export function encodeTarget(target: FlowTarget): Uint8Array {
  if (target.kind === 'api') return Uint8Array.of(kinds.indexOf('api'), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
  const texts = [target.task, target.client.host, target.entry.host]
  const bytes = new Uint8Array(fixedBytes + texts.reduce((sum, text) => sum + 1 + Math.min(text.length, 255), 0))
  bytes[0] = kinds.indexOf(target.kind)
  bytes[1] = target.proxyProtocol ? 1 : 0
  let at = 2
  for (const port of [target.target, target.client.port, target.entry.port]) {
    bytes[at++] = port >>> 8
    bytes[at++] = port & 0xff
  }
  for (const text of texts) {
    const length = Math.min(text.length, 255)
    bytes[at++] = length
    for (let i = 0; i < length; i++) bytes[at++] = text.charCodeAt(i) & 0x7f
  }
  return bytes
}

/** Undefined when the bytes are no target. */
export function decodeTarget(bytes: Uint8Array): FlowTarget | undefined {
  const kind = kinds[bytes[0] ?? 255]
  if (kind === undefined || bytes.length < fixedBytes || bytes[1]! > 1) return undefined
  if (kind === 'api') return { kind }
  const texts = readTexts(bytes)
  if (texts === undefined) return undefined
  const [task, client, entry] = texts
  if (!task || !client || !entry) return undefined
  const target = port(bytes, 2)
  if (target === 0) return undefined
  return {
    kind,
    task,
    target,
    client: { host: client, port: port(bytes, 4) },
    entry: { host: entry, port: port(bytes, 6) },
    proxyProtocol: bytes[1] === 1,
  }
}

function port(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

function readTexts(bytes: Uint8Array): readonly string[] | undefined {
  const texts: string[] = []
  let at = fixedBytes
  while (texts.length < 3) {
    const end = at + 1 + (bytes[at] ?? 256)
    if (!(end <= bytes.length)) return undefined
    let text = ''
    for (let i = at + 1; i < end; i++) {
      if (bytes[i]! < 0x21 || bytes[i]! > 0x7e) return undefined
      text += String.fromCharCode(bytes[i]!)
    }
    texts.push(text)
    at = end
  }
  return at === bytes.length ? texts : undefined
}
