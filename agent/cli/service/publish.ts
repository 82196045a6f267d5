/**
 * Reads `--publish` in both of Docker's forms into port configs: `8080:80/tcp`, ranges, and `published=8080,target=80,mode=host`.
 *
 * Rules: docker/cli opts/swarmopts/port.go. Whether a cluster can carry sctp is decided by its agents.
 */
import type { Protocol } from '../../../protocol/model.ts'
import type { PortConfig } from '../../../protocol/spec.ts'
import { usage } from '../usage.ts'

/** One port, or one for each number of a range. Throws a UsageFault that names the flag. */
export function parsePublish(text: string, flag = '--publish'): readonly PortConfig[] {
  const given = { text, flag }
  return text.includes('=') ? [parseLong(given)] : parseShort(given)
}

/** `80`, `80/udp` or a full publish: what `--publish-rm` names. */
export function parseTarget(text: string): readonly { readonly target: number; readonly protocol: string }[] {
  return parsePublish(text, '--publish-rm').map((port) => ({
    target: port.TargetPort,
    protocol: port.Protocol ?? 'tcp',
  }))
}

interface Given {
  readonly text: string
  readonly flag: string
}

function parseLong(given: Given): PortConfig {
  let target: number | undefined
  let published: number | undefined
  let protocol: Protocol = 'tcp'
  let mode: 'ingress' | 'host' = 'ingress'
  for (const field of given.text.split(',')) {
    const [key = '', value = ''] = field.split('=', 2)
    if (key === 'target') target = portNumber(value, given)
    else if (key === 'published') published = portNumber(value, given)
    else if (key === 'protocol') protocol = parseProtocol(value, given)
    else if (key === 'mode' && (value === 'ingress' || value === 'host')) mode = value
    else if (key === 'mode') throw bad(given, `the mode "${value}"`, 'mode is ingress or host')
    else throw bad(given, `the unknown key "${key}"`, 'Its keys are published, target, protocol and mode')
  }
  if (target === undefined) throw bad(given, 'no target', 'Name the port that the program listens on: target=80')
  return {
    Protocol: protocol,
    TargetPort: target,
    ...(published === undefined ? {} : { PublishedPort: published }),
    PublishMode: mode,
  }
}

function parseShort(given: Given): readonly PortConfig[] {
  const [ports = '', protocolText = 'tcp', ...more] = given.text.split('/')
  if (more.length > 0) throw bad(given, 'two protocols', 'Write it as 8080:80/udp')
  const protocol = parseProtocol(protocolText, given)
  const parts = ports.split(':')
  if (parts.length > 2)
    throw bad(given, 'an address', 'A published port answers on every address of every node; leave the address out')
  const targets = parseRange(parts.at(-1) ?? '', given)
  const published = parts.length === 2 && parts[0] !== '' ? parseRange(parts[0] ?? '', given) : undefined
  if (published !== undefined && published.length !== targets.length)
    throw bad(given, 'two ranges of different length', 'Give as many published ports as target ports')
  return targets.map((target, i) => ({
    Protocol: protocol,
    TargetPort: target,
    ...(published === undefined ? {} : { PublishedPort: published[i] ?? 0 }),
    PublishMode: 'ingress' as const,
  }))
}

function parseRange(range: string, given: Given): readonly number[] {
  const [first = '', last = first, ...more] = range.split('-')
  const [from, to] = [portNumber(first, given), portNumber(last, given)]
  if (more.length > 0 || to < from) throw bad(given, `the range "${range}"`, 'Write a range as 8080-8082')
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

function portNumber(value: string, given: Given): number {
  const port = Number(value)
  if (!/^\d+$/.test(value) || port < 1 || port > 65_535)
    throw bad(given, value === '' ? 'an empty port' : `the port "${value}"`, 'Ports are numbers from 1 to 65535')
  return port
}

function parseProtocol(value: string, given: Given): Protocol {
  const protocol = value.toLowerCase()
  if (protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp') return protocol
  throw bad(given, `the protocol "${value}"`, 'The protocols are tcp, udp and sctp')
}

function bad({ text, flag }: Given, what: string, fix: string): Error {
  return usage(`${flag} "${text}" holds ${what}`, fix)
}
