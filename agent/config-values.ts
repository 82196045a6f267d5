/**
 * What each value of the agent's settings must look like, and how to read those that have parts. Pure; a check answers with the rest of a
 * sentence that begins with the setting and its value, or with nothing.
 */
import { isIP } from 'node:net'

/** Says what is wrong with a value, as the rest of a sentence, or undefined. */
export type Check = (value: string) => string | undefined

export function checkName(value: string): string | undefined {
  return /^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/.test(value)
    ? undefined
    : 'must be a host name: letters, digits and dashes, at most 63'
}

export function checkLabel(value: string): string | undefined {
  return /^[^=]+=/.test(value) ? undefined : 'must be key=value'
}

const multiaddr = /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d{1,5})(\/p2p\/[A-Za-z0-9]+)?$/

function checkMultiaddr(value: string): string | undefined {
  const [, kind, host = '', port] = multiaddr.exec(value) ?? []
  if (kind === undefined) return 'must be a multiaddr such as /ip4/192.0.2.1/tcp/7766 or /dns4/n1.example/tcp/7766'
  if (kind === 'ip4' && isIP(host) !== 4) return `holds "${host}", which is no IPv4 address`
  if (kind === 'ip6' && isIP(host) !== 6) return `holds "${host}", which is no IPv6 address`
  return Number(port) > 65_535 ? `holds the port ${port}; ports end at 65535` : undefined
}

/** A multiaddr, or what people type: a host, with its port unless it is the default one. */
export function checkJoin(value: string): string | undefined {
  if (value.startsWith('/')) return checkMultiaddr(value)
  if (isIP(value) !== 0) return undefined
  const [, v6, host = '', port = '1'] = /^(?:\[([^\]]+)\]|([a-zA-Z0-9._-]+))(?::(\d{1,5}))?$/.exec(value) ?? []
  const isHost = v6 === undefined ? host !== '' && !/^[\d.]+$/.test(host) : isIP(v6) === 6
  if (!isHost && isIP(host) !== 4) return 'must be a multiaddr such as /ip4/192.0.2.1/tcp/7766, or host:port'
  return Number(port) > 65_535 ? `holds the port ${port}; ports end at 65535` : undefined
}

export function checkListen(value: string): string | undefined {
  const wrong = checkMultiaddr(value)
  if (wrong !== undefined) return wrong
  if (!/^\/ip[46]\//.test(value) || value.includes('/p2p/')) return 'must be an address of this machine: /ip4/…/tcp/…'
  return portOf(value) === 65_535 ? 'leaves no port for the mesh, which takes the next one' : undefined
}

export function checkAddress(value: string): string | undefined {
  if (isIP(value) === 0) return 'must be an IP address'
  return value === '0.0.0.0' || value === '::'
    ? 'is a wildcard; name the addresses that published ports answer on'
    : undefined
}

export function checkHost(value: string): string | undefined {
  if (value === '0.0.0.0' || value === '::') return 'is a wildcard, which nobody can dial'
  return isIP(value) !== 0 || /^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$/.test(value)
    ? undefined
    : 'must be an IP address or a host name'
}

export function checkServer(value: string): string | undefined {
  if (isIP(value) !== 0) return undefined
  return isIP(endpoint(value)?.host ?? '') === 0 ? 'must be an IP address, with :port if it is not 53' : undefined
}

/** `tcp://` before it is how Docker's client writes it. */
export function checkApi(value: string): string | undefined {
  return checkEndpoint(value.replace(/^tcp:\/\//, ''))
}

export function checkSocket(value: string): string | undefined {
  return /^tcp:\/\//.test(value)
    ? 'must be a path; to answer over TCP too, take --api with --tls-ca, --tls-cert and --tls-key'
    : undefined
}

/** A socket as Docker writes it, or its path. */
export function socketPath(text: string): string {
  return text.replace(/^unix:\/\//, '')
}

/**
 * Where this machine's Docker engine would answer: as told, else where Docker's client looks (DOCKER_HOST, where it is no other machine, else
 * where Docker's packages put it). undefined: nowhere; an agent that listens in Docker's place is not the engine that it looks for.
 */
export function dockerSocketOf(
  asked: string | undefined,
  { host, own }: { readonly host: string | undefined; readonly own: string },
): string | undefined {
  const path = socketPath(asked ?? (host?.startsWith('unix:///') ? host : '/var/run/docker.sock'))
  return path === 'none' || path === own ? undefined : path
}

export function checkDockerSocket(value: string): string | undefined {
  return value === 'none' || /^(unix:\/\/)?\//.test(value)
    ? undefined
    : "must be the path of a unix socket, or none: containers are run by this machine's own engine"
}

export function checkEndpoint(value: string): string | undefined {
  const parsed = endpoint(value)
  return parsed === undefined || isIP(parsed.host) === 0
    ? 'must be address:port, for instance 127.0.0.1:9090'
    : undefined
}

/** `127.0.0.1:9090`, `[::1]:9090`. */
export function endpoint(value: string | undefined): { readonly host: string; readonly port: number } | undefined {
  const [, host, port] = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(value ?? '') ?? []
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) }
}

export function portOf(listen: string): number {
  return Number(multiaddr.exec(listen)?.[3] ?? 0)
}

/** `key=value` at the first sign. */
export function halves(text: string, by: string): readonly [string, string] {
  const at = text.indexOf(by)
  return [text.slice(0, at), text.slice(at + 1)]
}
