/**
 * Says a table, or the way from one table to another, in nft's words (nft 1.0.6). Each text is one transaction: all of it or nothing.
 *
 * A difference names only what changed, in an order in which nothing is named before it is there nor removed while something leads to it: new sets and
 * chains, elements that go, rules, elements that come, then chains and sets that go.
 */
import { isDeepStrictEqual } from 'node:util'
import { clientSeed } from '../../core/routes/client-place.ts'
import type { Action, Choice, Condition, Field, Hook, NamedSet, Rule, Table, Target } from './model.ts'

export const tableName = 'inet grapevine'

const empty: Table = { sets: new Map(), chains: new Map() }

/** Replaces whatever the kernel has under our name. One statement a line. */
export function replacement(table: Table): readonly string[] {
  // Added first, since deleting what is not there is an error.
  return [
    `add table ${tableName}`,
    `delete table ${tableName}`,
    `add table ${tableName} { comment "made by vine agent; changes are undone"; }`,
    ...difference(empty, table),
  ]
}

/** Empty when the tables are equal. */
export function difference(before: Table, after: Table): readonly string[] {
  const lines: string[] = []
  const last: string[] = []
  const arriving: string[] = []
  for (const [name, set] of after.sets) {
    const held = before.sets.get(name)
    if (held === undefined) lines.push(declareSet(name, set))
    compareElements(name, held?.elements ?? new Map(), set, lines, arriving)
  }
  const rules: string[] = []
  for (const [name, chain] of after.chains) {
    const held = before.chains.get(name)
    if (held === chain) continue
    if (held === undefined) lines.push(declareChain(name, chain.hook))
    const text = chain.rules.map(sayRule)
    if (held !== undefined) {
      if (isDeepStrictEqual(text, held.rules.map(sayRule))) continue
      rules.push(`flush chain ${tableName} ${name}`)
    }
    for (const rule of text) rules.push(`add rule ${tableName} ${name} ${rule}`)
  }
  const gone = [...before.chains.keys()].filter((name) => !after.chains.has(name))
  for (const name of gone) last.push(`flush chain ${tableName} ${name}`)
  for (const name of gone) last.push(`delete chain ${tableName} ${name}`)
  for (const name of before.sets.keys()) if (!after.sets.has(name)) last.push(`delete set ${tableName} ${name}`)
  return [...lines, ...rules, ...arriving, ...last]
}

/** 500: what nft takes in one statement without noticeable delay; a statement is also one line of a report. */
const elementsInStatement = 500

function compareElements(
  name: string,
  held: ReadonlyMap<string, string>,
  { elements, interval }: NamedSet,
  lines: string[],
  arriving: string[],
): void {
  const going: string[] = []
  let coming: string[] = []
  for (const [key, value] of held) if (elements.get(key) !== value) going.push(key)
  for (const [key, value] of elements) if (held.get(key) !== value) coming.push(sayElement(key, value))
  if (going.length === 0 && coming.length === 0) return
  if (interval && going.length > 0) {
    // nft 1.0.6 compares new subnets with those that go in the same transaction, and refuses.
    lines.push(`flush set ${tableName} ${name}`)
    coming = [...elements].map(([key, value]) => sayElement(key, value))
  } else inStatements(`delete element ${tableName} ${name}`, going, lines)
  inStatements(`add element ${tableName} ${name}`, coming, arriving)
}

function inStatements(words: string, elements: readonly string[], lines: string[]): void {
  for (let from = 0; from < elements.length; from += elementsInStatement) {
    lines.push(`${words} { ${elements.slice(from, from + elementsInStatement).join(', ')} }`)
  }
}

function sayElement(key: string, value: string): string {
  return value === '' ? key : `${key} : ${value}`
}

function declareSet(name: string, { keys, values, interval }: NamedSet): string {
  const type = values === undefined ? '' : ` : ${values === 'verdict' ? values : sayFields(values)}`
  const flags = interval ? ' flags interval;' : ''
  return `add ${values === undefined ? 'set' : 'map'} ${tableName} ${name} { typeof ${sayFields(keys)}${type};${flags} }`
}

function declareChain(name: string, hook: Hook | undefined): string {
  const words =
    hook === undefined ? '' : ` { type ${hook.type} hook ${hook.at} priority ${hook.priority}; policy accept; }`
  return `add chain ${tableName} ${name}${words}`
}

function sayRule({ when, action }: Rule): string {
  return [...when.map(sayCondition), sayAction(action)].join(' ')
}

function sayCondition(condition: Condition): string {
  // The transport header is 8 bytes of UDP, then 4 of flags and 3 of number.
  if ('vxlan' in condition)
    return `udp dport { ${condition.vxlan.join(', ')} } @th,96,24 { ${condition.numbers.join(', ')} }`
  if ('tcp' in condition) return 'tcp flags & (syn | rst) == syn'
  if ('mask' in condition) return `ct mark and ${hex(condition.mask)} == ${hex(condition.value)}`
  const not = condition.not === true ? '!= ' : ''
  if ('fields' in condition) return `${sayFields(condition.fields)} ${not}@${condition.in}`
  const { field, is } = condition
  // States and status are bits, which nft lists without braces.
  if (field === 'ct state' || field === 'ct status') return `${field} ${not}${is.join(',')}`
  return `${field} ${not}${is.length === 1 ? is[0] : `{ ${is.join(', ')} }`}`
}

function sayAction(action: Action): string {
  switch (action.do) {
    case 'accept':
    case 'drop':
    case 'masquerade':
    case 'notrack':
      return action.do
    case 'clamp-mss':
      return 'tcp option maxseg size set rt mtu'
    case 'reject':
      return `reject with ${action.with}`
    case 'goto':
    case 'jump':
      return `${action.do} ${action.chain}`
    case 'verdict':
      return `${sayFields(action.of)} vmap @${action.map}`
    case 'set':
      return `${action.field} set ${action.of} map @${action.map}`
    case 'copy':
      return `${action.to} set ${action.from}`
    case 'dnat':
    case 'snat':
      return `${action.do} ${action.ip} to ${sayTarget(action.to)}`
    case 'choose':
      return sayChoice(action.among, 'vmap')
  }
}

function sayTarget(target: Target): string {
  // Beside a plain address a port follows a colon; in maps both are joined by a dot.
  if ('value' in target) return sayEnd(target.value)
  if ('choice' in target) return sayChoice(target.choice, 'map')
  if ('map' in target) return `${sayFields(target.of)} map @${target.map}`
  const elements = [...target.elements].map(([key, value]) => sayElement(key, value))
  return `${sayFields(target.of)} map { ${elements.join(', ')} }`
}

function sayEnd(value: string): string {
  const [address = '', port] = value.split(' . ')
  if (port === undefined) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function sayChoice({ by, values, places }: Choice, word: 'map' | 'vmap'): string {
  if (by === 'random' || places === undefined) {
    return `numgen random mod ${values.length} ${word} { ${values.map((value, index) => `${index} : ${value}`).join(', ')} }`
  }
  const elements = Array.from(places, (index, place) => `${place} : ${values[index]}`)
  return `jhash ${by === 'client' ? 'ip' : 'ip6'} saddr mod ${places.length} seed ${hex(clientSeed)} ${word} { ${elements.join(', ')} }`
}

function sayFields(fields: readonly Field[]): string {
  return fields.join(' . ')
}

function hex(number: number): string {
  return `0x${(number >>> 0).toString(16)}`
}
