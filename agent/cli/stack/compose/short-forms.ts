/**
 * The short forms of a Compose file made long: `8080:80/udp` of ports and `data:/var/lib:ro` of volumes (docker/cli compose/loader). Pure.
 */
import { Fault } from '../../../fault.ts'
import { parsePublish } from '../../service/publish.ts'

export interface LongPort {
  readonly mode?: string | undefined
  readonly target?: number | undefined
  readonly published?: number | undefined
  readonly protocol?: string | undefined
}

export interface LongVolume {
  readonly type: string
  readonly source?: string | undefined
  readonly target?: string | undefined
  readonly read_only?: boolean | undefined
  readonly bind?: { readonly propagation?: string | undefined } | undefined
  readonly volume?: { readonly nocopy?: boolean | undefined } | undefined
}

/** An address before the ports: IPv4, or IPv6 in brackets. A published port answers on every address, so it is left out. */
const addressed = /^(\[[0-9a-fA-F:.]*\]|\d+\.\d+\.\d+\.\d+):(.*)$/

/** The address that is left out of a port's short form, if it names one. */
export function addressOfPort(text: string): string | undefined {
  return addressed.exec(text)?.[1]
}

/** One port for each number of a range; undefined where it is none. */
export function longPorts(text: string): readonly LongPort[] | undefined {
  const [, , rest = text] = addressed.exec(text) ?? []
  const [, from, to, target, protocol = ''] = /^(\d+)-(\d+):(\d+)(\/\w+)?$/.exec(rest) ?? []
  // Several published ports for one target: each leads to it.
  const texts =
    from === undefined
      ? [rest.replace(/^:/, '')]
      : numbers(Number(from), Number(to)).map((port) => `${port}:${target}${protocol}`)
  try {
    const ports = texts.flatMap((one) => parsePublish(one))
    if (ports.length === 0) return undefined
    return ports.map(({ PublishMode, TargetPort, PublishedPort, Protocol }) => ({
      mode: PublishMode,
      target: TargetPort,
      ...(PublishedPort === undefined ? {} : { published: PublishedPort }),
      protocol: Protocol,
    }))
  } catch (error) {
    if (error instanceof Fault) return undefined
    throw error
  }
}

function numbers(from: number, to: number): readonly number[] {
  return to > 65_535 ? [] : Array.from({ length: Math.max(to - from + 1, 0) }, (_, index) => from + index)
}

const propagations = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'])

/** A string says what is wrong. Options without a meaning, such as SELinux's z, are passed over, as Docker passes them. */
export function longVolume(text: string): LongVolume | string {
  if (text === '') return 'invalid empty volume spec'
  const parts = split(text)
  if (parts.includes('')) return `invalid spec: ${text}: empty section between colons`
  if (parts.length > 3) return `invalid spec: ${text}: too many colons`
  const [first = '', second, options = ''] = parts
  if (second === undefined) return { type: 'volume', target: first }
  const flags = options.split(',')
  const propagation = flags.findLast((flag) => propagations.has(flag))
  const access = flags.findLast((flag) => flag === 'ro' || flag === 'rw')
  return {
    type: isFile(first) ? 'bind' : 'volume',
    source: first,
    target: second,
    ...(access === 'ro' ? { read_only: true } : {}),
    ...(propagation === undefined ? {} : { bind: { propagation } }),
    ...(flags.includes('nocopy') ? { volume: { nocopy: true } } : {}),
  }
}

/** At colons, but not behind a single letter: that is a drive of Windows. */
function split(text: string): readonly string[] {
  if (text.length <= 2) return [text]
  const parts: string[] = []
  let part = ''
  for (const c of text) {
    if (c === ':' && !/^\p{L}$/u.test(part)) {
      parts.push(part)
      part = ''
    } else part += c
  }
  return [...parts, part]
}

function isFile(source: string): boolean {
  return /^[./~]/.test(source) || source.startsWith('\\\\') || /^\p{L}:/u.test(source)
}
