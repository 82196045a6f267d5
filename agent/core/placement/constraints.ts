/**
 * Placement constraints: `node.labels.zone==a`, `node.role != manager` (swarmkit manager/constraint/constraint.go).
 *
 * Only `==` and `!=`, all must hold. Values compare without regard to case, label keys with it; a missing label is empty, so `!=`
 * passes. The API parses to refuse nonsense early; what a record holds that does not parse matches nothing, so it is seen, not ignored.
 */
import { contains, parseAddress, parseSubnet } from '../addresses/ipv4.ts'
import type { Member } from '../view.ts'
import { dockerArch } from './architecture.ts'

export interface Constraint {
  readonly key: string
  readonly equal: boolean
  readonly value: string
}

const fixedKeys = new Set([
  'node.id',
  'node.hostname',
  'node.role',
  'node.ip',
  'node.platform.os',
  'node.platform.arch',
])
const labelKeys = ['node.labels.', 'engine.labels.']

/** The constraint, or a sentence that says what is wrong with it. */
export function parseConstraint(text: string): Constraint | string {
  const match = /^\s*([^\s=!]+)\s*(==|!=)\s*(.*?)\s*$/.exec(text)
  if (match === null) return `constraint expected one operator from ==, !=, got "${text}"`
  const [, key = '', operator, value = ''] = match
  if (!isKnownKey(key))
    return `constraint key "${key}" is not one of node.id, node.hostname, node.role, node.ip, node.platform.os, node.platform.arch, node.labels.*, engine.labels.*`
  if (!/^[\w.:/+-][\w.:/+ -]*$/.test(value)) return `value "${value}" of constraint "${key}" is invalid`
  return { key: foldKey(key), equal: operator === '==', value }
}

/** Whether a node meets all constraints. */
export function meetsConstraints(texts: readonly string[], member: Member): boolean {
  return texts.every((text) => {
    const constraint = parseConstraint(text)
    return typeof constraint !== 'string' && meets(constraint, member)
  })
}

/** Value of `node.labels.x`, `engine.labels.x` or a fixed key, as constraints and spread preferences see it; missing is ''. */
export function attribute(member: Member, key: string): string {
  const { value } = member.record
  if (key.startsWith('node.labels.')) return own(member.node.spec.Labels ?? {}, key.slice('node.labels.'.length))
  if (key.startsWith('engine.labels.')) return own(value.engineLabels, key.slice('engine.labels.'.length))
  switch (key) {
    case 'node.id':
      return member.id
    case 'node.hostname':
      return value.name
    case 'node.role':
      // Every node can do what a manager does; the role is a label that operators set.
      return member.node.spec.Role ?? 'manager'
    case 'node.platform.os':
      return value.platform.os
    case 'node.platform.arch':
      return value.platform.arch
    default:
      return ''
  }
}

function meets(constraint: Constraint, member: Member): boolean {
  if (constraint.key === 'node.ip') {
    return member.record.value.addresses.some((address) => isWithin(address, constraint.value)) === constraint.equal
  }
  // x86_64 and amd64 are one architecture, whichever somebody read in a manual.
  const plain = constraint.key === 'node.platform.arch' ? dockerArch : (word: string) => word.toLowerCase()
  return (plain(attribute(member, constraint.key)) === plain(constraint.value)) === constraint.equal
}

/** `node.ip` takes an address or a subnet. */
function isWithin(address: string, wanted: string): boolean {
  const subnet = parseSubnet(wanted.includes('/') ? wanted : `${wanted}/32`)
  const number = parseAddress(address)
  return subnet === undefined || number === undefined ? address === wanted : contains(subnet, number)
}

function isKnownKey(key: string): boolean {
  const folded = foldKey(key)
  return fixedKeys.has(folded) || labelKeys.some((prefix) => folded.startsWith(prefix) && folded.length > prefix.length)
}

/** The part before a label's own key is read without regard to case, as Swarm does. */
function foldKey(key: string): string {
  const lower = key.toLowerCase()
  for (const prefix of labelKeys) if (lower.startsWith(prefix)) return prefix + key.slice(prefix.length)
  return lower
}

function own(labels: Readonly<Record<string, string>>, key: string): string {
  return Object.hasOwn(labels, key) ? (labels[key] ?? '') : ''
}
