/**
 * The PROXY protocol v2 header, which tells a task who the client is (haproxy's proxy-protocol.txt, section 2.2).
 */
import type { Socket } from 'node:net'
import ipaddr from 'ipaddr.js'
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

/** The first bytes to a task. The client's follow at once, whatever Nagle's algorithm would say. */
export function sendHeader(task: Socket, client: FlowAddress, entry: FlowAddress): void {
  task.setNoDelay()
  task.write(proxyHeader('tcp', client, entry))
}

function portBytes(port: number): Buffer {
  return Buffer.of(port >>> 8, port & 0xff)
}

/** 4 or 16 bytes; undefined for what is no address. */
function addressBytes(text: string): Buffer | undefined {
  return ipaddr.isValid(text) ? Buffer.from(ipaddr.parse(text).toByteArray()) : undefined
}
