/**
 * Numbers the nodes through which connections come in, and keeps the routes by which replies go back through them (design.md 8).
 *
 * A number is this node's own affair. It must not change while connections carry it in their marks, so it is read back from the kernel after a
 * restart. For each node: packets from the ingress bridge with its mark use a table of its own, whose only route leads to that node's hardware address.
 * Owns rules of three preferences, tables `markBase | number`, and the permanent neighbours 169.254.128.0/17 and fe80::6776:0/113 of the ingress bridge.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { formatAddress, parseAddress } from '../../core/addresses/ipv4.ts'
import { formatAddress6, parseAddress6 } from '../../core/addresses/ipv6.ts'
import { hash32 } from '../../core/routes/maglev.ts'
import { fault } from '../../fault.ts'
import { type Family, ipv4 } from './family.ts'
import { markBase } from './frame.ts'
import { nodeMac } from './names.ts'
import { batchAll, type Row, tablesOf } from './tools.ts'

/** Numbers fit into 169.254.128.0/17 and into a zone of conntrack. */
const numberMax = 0x7fff
const firstVia = parseAddress('169.254.128.0')!
const firstVia6 = parseAddress6('fe80::6776:0')!
/** Before the main table's rule (32766), behind the local one's (0); between the two of its neighbours, which spare other packets the list. */
const preference = 10_777
/** Those of all our rules. */
export const preferences: readonly number[] = [preference - 1, preference, preference + 1]

export class EntryNumbers {
  private readonly numbers = new Map<NodeId, number>()
  private readonly taken = new Set<number>()

  /** Those of `nodes`; a number once given is kept, also for a node that went, whose connections may still be open. */
  of(nodes: readonly NodeId[]): ReadonlyMap<NodeId, number> {
    return new Map([...nodes].sort().map((node) => [node, this.numbers.get(node) ?? this.give(node)]))
  }

  /** What an earlier run of the agent gave. */
  adopt(node: NodeId, number: number): void {
    if (this.numbers.has(node) || this.taken.has(number)) return
    this.numbers.set(node, number)
    this.taken.add(number)
  }

  private give(node: NodeId): number {
    const start = hash32(`entry ${node}`)
    for (let step = 0; step < numberMax; step++) {
      const number = 1 + ((start + step) % numberMax)
      if (this.taken.has(number)) continue
      this.adopt(node, number)
      return number
    }
    throw fault('unavailable', `This node has seen more than ${numberMax} others since its start`)
  }
}

/** What `ip -j` shows: rules, the routes of all tables, and the permanent neighbours of the ingress bridge. */
export interface ReplyRoutes {
  readonly rules: readonly Row[]
  readonly routes: readonly Row[]
  readonly neighbours: readonly Row[]
}

export async function readReplyRoutes(bridge: string, { flag }: Family): Promise<ReplyRoutes> {
  const [rules = [], routes = [], neighbours = []] = await tablesOf(flag, [
    'rule show',
    `route show table all dev ${bridge}`,
    `neighbour show dev ${bridge} nud permanent`,
  ])
  return { rules, routes, neighbours }
}

/** Numbers that nodes have in the kernel, by hardware address. */
export function numbersFound({ neighbours }: ReplyRoutes): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  for (const { dst, lladdr } of neighbours) {
    const number = numberOf(String(dst))
    if (number !== undefined) found.set(String(lladdr), number)
  }
  return found
}

/** The next hop that stands for a number, of either family; no node has these addresses. */
function viaOf(number: number, { suffix }: Family): string {
  return suffix === '6' ? formatAddress6(firstVia6 + BigInt(number)) : formatAddress(firstVia + number)
}

function numberOf(via: string): number | undefined {
  const number = via.includes(':')
    ? Number((parseAddress6(via) ?? 0n) - firstVia6)
    : (parseAddress(via) ?? 0) - firstVia
  return number > 0 && number <= numberMax ? number : undefined
}

/** Lines for `ip -batch` that make it so. Routes before the rules that lead to them; what is not wanted any more goes last. */
export function replyRouteLines(
  bridge: string,
  numbers: ReadonlyMap<NodeId, number>,
  found: ReplyRoutes,
  family: Family = ipv4,
): readonly string[] {
  const vias = new Map([...numbers].map(([node, number]) => [viaOf(number, family), nodeMac(node)]))
  const tables = new Map([...numbers.values()].map((number) => [String(markBase | number), number]))
  const neighbours = new Map(found.neighbours.map(({ dst, lladdr }) => [String(dst), String(lladdr)]))
  const routed = new Map(found.routes.map((route) => [String(route.table), String(route.gateway)]))
  const ruled = new Set<string>()
  const lines: string[] = []
  const gone: string[] = []
  for (const row of found.rules) {
    if (row.priority === preference - 1 && row.iif === bridge && row.goto === preference + 1) ruled.add('gate')
    else if (row.priority === preference + 1) ruled.add('end')
    else if (row.priority === preference && row.iif === bridge && tables.has(String(row.table)))
      ruled.add(String(row.table))
    else if (row.priority === preference || row.priority === preference - 1) gone.push(ruleGone(row))
  }
  for (const [via, mac] of vias) {
    if (neighbours.get(via) !== mac) lines.push(`neighbour replace ${via} lladdr ${mac} dev ${bridge} nud permanent`)
  }
  for (const [table, number] of tables) {
    const via = viaOf(number, family)
    if (routed.get(table) !== via) lines.push(`route replace default via ${via} dev ${bridge} onlink table ${table}`)
  }
  if (!ruled.has('end')) lines.push(`rule add preference ${preference + 1} nop`)
  for (const table of tables.keys()) {
    if (ruled.has(table)) continue
    lines.push(
      `rule add preference ${preference} iif ${bridge} fwmark ${hex(Number(table))}/0xffffffff lookup ${table}`,
    )
  }
  if (!ruled.has('gate')) lines.push(`rule add preference ${preference - 1} not iif ${bridge} goto ${preference + 1}`)
  for (const via of neighbours.keys()) {
    const number = numberOf(via)
    if (number === undefined || vias.has(via)) continue
    gone.push(`neighbour delete ${via} dev ${bridge}`, `route flush table ${markBase | number}`)
  }
  return [...lines, ...gone]
}

/** Makes it so. Rejects with a Fault in the kernel's words. */
export async function makeReplyRoutes(
  bridge: string,
  numbers: ReadonlyMap<NodeId, number>,
  family: Family,
): Promise<void> {
  const lines = replyRouteLines(bridge, numbers, await readReplyRoutes(bridge, family), family)
  const [refusal] = await batchAll(family.suffix === '6' ? 'ip -6' : 'ip', lines)
  if (refusal !== undefined) throw fault('unavailable', `ip ${refusal.line}: ${refusal.why}`)
}

function ruleGone(row: Row): string {
  const not = row.not === undefined ? '' : 'not '
  const mark = row.fwmark === undefined ? '' : ` fwmark ${String(row.fwmark)}`
  const to = row.goto === undefined ? `lookup ${String(row.table)}` : `goto ${String(row.goto)}`
  return `rule delete preference ${String(row.priority)} ${not}iif ${String(row.iif)}${mark} ${to}`
}

function hex(number: number): string {
  return `0x${number.toString(16)}`
}
