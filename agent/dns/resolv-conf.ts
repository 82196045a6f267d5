/**
 * The servers that this machine asks: /etc/resolv.conf, without ourselves.
 */
import { isIP } from 'node:net'
import type { UpstreamServer } from './upstream.ts'

const dnsPort = 53

/** Nameservers of a resolv.conf text, in order. `own`: addresses that would lead back here. */
export function nameservers(resolvConf: string, own: (host: string) => boolean): readonly UpstreamServer[] {
  return resolvConf.split('\n').flatMap((line) => {
    const host = /^\s*nameserver\s+(\S+)/.exec(line)?.[1]
    return host === undefined || isIP(host.replace(/%.*$/, '')) === 0 || own(host) ? [] : [{ host, port: dnsPort }]
  })
}

/** Reads `--upstream-dns`: address, address:port or [v6]:port. Undefined when it is none of these. */
export function parseServer(text: string): UpstreamServer | undefined {
  if (isIP(text) !== 0) return { host: text, port: dnsPort }
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  return host !== undefined && isIP(host) !== 0 && port > 0 && port <= 65_535 ? { host, port } : undefined
}
