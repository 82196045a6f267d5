/**
 * The PROXY protocol v2 header, which tells a task who the client is (haproxy's proxy-protocol.txt, section 2.2).
 */
import type { FlowAddress } from '../../../protocol/flow-open.ts'

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
/** Version 2, command PROXY; version 2, command LOCAL. */
const proxyCommand = 0x21
const localCommand = 0x20
/** Address family and transport. */
const families = { tcp4: 0x11, udp4: 0x12, tcp6: 0x21, udp6: 0x22 } as const

/** The header for a client that reached us at `entry`. Addresses of two families, or none at all, give LOCAL: no statement. */
export function proxyHeader(protocol: 'tcp' | 'udp', client: FlowAddress, entry: FlowAddress): Buffer {
  const from = addressBytes(client.host)
  const to = addressBytes(entry.host)
  if (from === undefined || to === undefined || from.length !== to.length) {
    return Buffer.concat([signature, Buffer.of(localCommand, 0, 0, 0)])
  }
  const family = families[`${protocol}${from.length === 4 ? 4 : 6}`]
  const body = Buffer.concat([from, to, portBytes(client.port), portBytes(entry.port)])
  return Buffer.concat([signature, Buffer.of(proxyCommand, family, body.length >>> 8, body.length & 0xff), body])
}

function portBytes(port: number): Buffer {
  return Buffer.of(port >>> 8, port & 0xff)
}

/** 4 or 16 bytes; undefined for what is no address. */
function addressBytes(text: string): Buffer | undefined {
  const parts = text.split('.')
  if (parts.length === 4 && !text.includes(':')) {
    const bytes = parts.map(Number)
    return bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255) ? Buffer.from(bytes) : undefined
  }
  return text.includes(':') ? ipv6Bytes(text.split('%')[0]!) : undefined
}

function ipv6Bytes(text: string): Buffer | undefined {
  const [head = '', tail] = text.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = 8 - before.length - after.length
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined
  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...after].map((g) => Number.parseInt(g, 16))
  if (groups.length !== 8 || groups.some((g) => !(g >= 0 && g <= 0xffff))) return undefined
  return Buffer.from(groups.flatMap((group) => [group >>> 8, group & 0xff]))
}
