/**
 * Reads `--publish` in both of Docker's forms into port configs: `8080:80/tcp`, ranges, and `published=8080,target=80,mode=host`.
 *
 * Rules: docker/cli opts/swarmopts/port.go. What a userspace mesh cannot carry (sctp) is refused here with a sentence.
 */
import type { PortConfig } from '../../../protocol/spec.ts'
import { usage } from '../usage.ts'

/** One port, or one for each number of a range. Throws a UsageFault. */
export function parsePublish(text: string): readonly PortConfig[] {
  return text.includes('=') ? [parseLong(text)] : parseShort(text)
}

/** `80`, `80/udp` or a full publish: what `--publish-rm` names. */
export function parseTarget(text: string): readonly { readonly target: number; readonly protocol: string }[] {
  return parsePublish(text).map((port) => ({ target: port.TargetPort, protocol: port.Protocol ?? 'tcp' }))
}

function parseLong(text: string): PortConfig {
  let target: number | undefined
  let published: number | undefined
  let protocol: 'tcp' | 'udp' = 'tcp'
  let mode: 'ingress' | 'host' = 'ingress'
  for (const field of text.split(',')) {
    const [key = '', value = ''] = field.split('=', 2)
    if (key === 'target') target = portNumber(value, text)
    else if (key === 'published') published = portNumber(value, text)
    else if (key === 'protocol') protocol = parseProtocol(value, text)
    else if (key === 'mode' && (value === 'ingress' || value === 'host')) mode = value
    else if (key === 'mode') throw bad(text, `the mode "${value}"`, 'mode is ingress or host')
    else throw bad(text, `the unknown key "${key}"`, 'Its keys are published, target, protocol and mode')
  }
  if (target === undefined) throw bad(text, 'no target', 'Name the port that the program listens on: target=80')
  return {
    Protocol: protocol,
    TargetPort: target,
    ...(published === undefined ? {} : { PublishedPort: published }),
    PublishMode: mode,
  }
}

function parseShort(text: string): readonly PortConfig[] {
  const [ports = '', protocolText = 'tcp', ...more] = text.split('/')
  if (more.length > 0) throw bad(text, 'two protocols', 'Write it as 8080:80/udp')
  const protocol = parseProtocol(protocolText, text)
  const parts = ports.split(':')
  if (parts.length > 2)
    throw bad(text, 'an address', 'A published port answers on every address of every node; leave the address out')
  const targets = parseRange(parts.at(-1) ?? '', text)
  const published = parts.length === 2 && parts[0] !== '' ? parseRange(parts[0] ?? '', text) : undefined
  if (published !== undefined && published.length !== targets.length)
    throw bad(text, 'two ranges of different length', 'Give as many published ports as target ports')
  return targets.map((target, i) => ({
    Protocol: protocol,
    TargetPort: target,
    ...(published === undefined ? {} : { PublishedPort: published[i] ?? 0 }),
    PublishMode: 'ingress' as const,
  }))
}

function parseRange(range: string, text: string): readonly number[] {
  const [first = '', last = first, ...more] = range.split('-')
  const [from, to] = [portNumber(first, text), portNumber(last, text)]
  if (more.length > 0 || to < from) throw bad(text, `the range "${range}"`, 'Write a range as 8080-8082')
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

function portNumber(value: string, text: string): number {
  const port = Number(value)
  if (!/^\d+$/.test(value) || port < 1 || port > 65_535)
    throw bad(text, value === '' ? 'an empty port' : `the port "${value}"`, 'Ports are numbers from 1 to 65535')
  return port
}

function parseProtocol(value: string, text: string): 'tcp' | 'udp' {
  const protocol = value.toLowerCase()
  if (protocol === 'tcp' || protocol === 'udp') return protocol
  if (protocol === 'sctp') throw bad(text, 'the protocol sctp, which is not supported', 'Publish tcp or udp')
  throw bad(text, `the protocol "${value}"`, 'The protocols are tcp and udp')
}

function bad(text: string, what: string, fix: string): Error {
  return usage(`--publish "${text}" holds ${what}`, fix)
}
