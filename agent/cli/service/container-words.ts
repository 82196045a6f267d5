/**
 * Reads the small languages in flags that only containers have: ulimits, host entries, search domains, an OOM score, log options.
 *
 * Rules and sentences: docker/cli opts and docker/go-units. Pure.
 */
import { isIP } from 'node:net'
import type { Ulimit } from '../../../protocol/spec.ts'
import { raise, usage } from '../usage.ts'
import { parsePairs } from './words.ts'

const ulimitNames =
  'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ')

/** `nofile=1024` or `nofile=1024:2048`, soft before hard; -1 has no limit. */
export function parseUlimit(text: string, flag: string): Ulimit {
  const bad = (why: string) => usage(`invalid value "${text}" for ${flag}: ${why}`, 'Write it as nofile=1024:2048')
  const at = text.indexOf('=')
  if (at < 0) throw bad('it is no name=soft[:hard]')
  const [name, limits] = [text.slice(0, at), text.slice(at + 1)]
  if (!ulimitNames.includes(name)) throw bad(`invalid ulimit type: ${name}; there are ${ulimitNames.join(', ')}`)
  const parts = limits.split(':')
  if (parts.length > 2) throw bad(`too many limit value arguments - ${limits}`)
  const [soft = 0, hard = soft] = parts.map((part) => integer(part) ?? raise(bad(`"${part}" is no whole number`)))
  if (hard !== -1 && (soft > hard || soft === -1))
    throw bad(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`)
  return { Name: name, Hard: hard, Soft: soft }
}

/** A later one of a name replaces an earlier one; Docker keeps them in the order of their names. */
export function mergeUlimits(ulimits: readonly Ulimit[]): Ulimit[] {
  const byName = new Map(ulimits.map((ulimit) => [ulimit.Name, ulimit]))
  return [...byName.values()].sort((a, b) => (a.Name < b.Name ? -1 : 1))
}

/** `db:192.0.2.1` or `db=192.0.2.1` as a line of a hosts file. */
export function parseHost(text: string, flag: string): string {
  const bad = (why: string, fix = 'Write it as db:192.0.2.1') =>
    usage(`invalid value "${text}" for ${flag}: ${why}`, fix)
  const at = text.includes('=') ? text.indexOf('=') : text.indexOf(':')
  const [name, address] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1).replace(/^\[(.*)\]$/, '$1')]
  if (name === '') throw bad('bad format, it is no name:address')
  if (address === 'host-gateway')
    throw bad('a task has no such gateway on every node', 'Give an address that all nodes reach')
  if (isIP(address) === 0 || address.includes('%')) throw bad(`invalid IP address "${address}"`)
  return `${address} ${name}`
}

/** `db` takes that name out of every line, `db:192.0.2.1` out of the lines of that address; a line without names goes. */
export function removeHosts(lines: readonly string[], removed: readonly string[]): readonly string[] {
  const wishes = removed.map((text) => /^([^:]*):?(.*)$/s.exec(text) ?? [])
  return lines.flatMap((line) => {
    const [address = '', ...names] = line.trim().split(/\s+/)
    const kept = names.filter((name) => !wishes.some(([, of, at]) => of === name && (!at || at === address)))
    return kept.length === 0 ? [] : [`${address} ${kept.join(' ')}`]
  })
}

const label = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/i

/** `example.com`; a dot alone is the root. */
export function parseDomain(text: string, flag: string): string {
  const domain = text.trim()
  const name = domain.replace(/\.$/, '')
  if (domain === '.') return domain
  if (!/[a-z]/i.test(name) || name.length >= 255 || !name.split('.').every((part) => label.test(part)))
    throw usage(`invalid value "${text}" for ${flag}: it is not a valid domain`, 'Write for instance example.com')
  return name
}

/** -1000 to 1000. */
export function parseOomScore(text: string, flag: string): number {
  const score = integer(text)
  if (score === undefined || Math.abs(score) > 1000)
    throw usage(`invalid value "${text}" for ${flag}`, 'It is a whole number from -1000 to 1000')
  return score
}

/** Options as pairs; a bare name takes its value from here, where it has one. */
export function parseLogOptions(texts: readonly string[], here: Readonly<Record<string, string | undefined>>) {
  const full = texts.map((text) => (here[text] === undefined ? text : `${text}=${here[text]}`))
  return parsePairs(full, '--log-opt')
}

/** Without leading zeros, which some of Docker's flags read as octal. */
function integer(text: string): number | undefined {
  const value = Number(text)
  return /^[+-]?(0|[1-9]\d*)$/.test(text) && Number.isSafeInteger(value) ? value : undefined
}
