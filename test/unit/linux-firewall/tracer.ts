// Traces packets through a table of the data model as the kernel would: hooks in their order, connection tracking with zones and address translation,
// routing. Every rule that takes effect is noted as `chain verdict`, in the words of `nft monitor trace`, so that test/e2e compares it with the kernel.
import { parseAddress, parseSubnet } from '../../../agent/core/addresses/ipv4.ts'
import { contains6, parseAddress6, parseSubnet6 } from '../../../agent/core/addresses/ipv6.ts'
import { clientPlace } from '../../../agent/core/routes/client-place.ts'
import type {
  Action,
  Choice,
  Condition,
  Field,
  Hook,
  NamedSet,
  Rule,
  Table,
  Target,
} from '../../../agent/dataplane/linux/model.ts'

export interface Packet {
  /** The device it comes in by. */
  readonly iif: string
  /** Hardware address of who sent it here. */
  readonly ether: string
  readonly source: string
  readonly destination: string
  readonly protocol: 'tcp' | 'udp' | 'sctp' | 'icmp'
  readonly sport: number
  readonly dport: number
  /** Number of a tunnel, in a datagram of VXLAN. */
  readonly vni?: number
}

export interface Outcome {
  readonly verdict: 'forwarded' | 'delivered' | 'rejected'
  /** In which way: `tcp reset`, `icmpx port-unreachable`, … */
  readonly with: string | undefined
  /** The packet as it leaves, or is handed to this machine. */
  readonly packet: Packet
  readonly oif: string | undefined
  /** Mark for routing: 0 without. */
  readonly mark: number
  readonly trail: readonly string[]
}

export interface Surroundings {
  /** The device by which a packet leaves, or 'local'. */
  route(packet: Packet, mark: number): string
  /** Index of what `numgen random mod n` chooses. */
  random(n: number): number
  /** What masquerade takes as the source on a device, of the kind of the packet's own. */
  addressOf(oif: string, source: string): string
}

interface Tuple {
  readonly source: string
  readonly destination: string
  readonly sport: number
  readonly dport: number
}

interface Connection {
  readonly protocol: string
  readonly zone: number
  readonly original: Tuple
  /** Towards the backend, after translation; replies are this one turned round. */
  translated: Tuple
  mark: number
  dnat: boolean
  /** Until then the kernel calls every packet of it new. */
  answered: boolean
}

interface Passage {
  packet: Packet
  oif: string
  mark: number
  zone: number
  /** Its first packet: translations are chosen by this one and kept. */
  first: boolean
  state: 'new' | 'established'
  direction: 'original' | 'reply'
  connection: Connection | undefined
  readonly trail: string[]
}

type Verdict = 'accept' | 'continue' | { readonly reject: string }

/** Of a packet that nobody has looked at. */
const fresh = { state: 'new', direction: 'original', connection: undefined } as const

/** One machine with a table, and the connections that have passed it. */
export class Tracer {
  private readonly connections: Connection[] = []
  readonly table: Table
  private readonly around: Surroundings

  constructor(table: Table, around: Surroundings) {
    this.table = table
    this.around = around
  }

  /** The same machine after a change of its table. */
  with(table: Table): Tracer {
    const next = new Tracer(table, this.around)
    next.connections.push(...this.connections)
    return next
  }

  send(packet: Packet): Outcome {
    const trail: string[] = []
    const passage: Passage = {
      packet,
      oif: '',
      mark: 0,
      zone: 0,
      first: true,
      ...fresh,
      trail,
    }
    const refusal =
      this.filters(passage, 'prerouting', -Infinity, -200) ??
      this.track(passage) ??
      this.filters(passage, 'prerouting', -200, Infinity) ??
      this.translate(passage, 'prerouting')
    if (refusal !== undefined) return this.outcome('rejected', passage, refusal)
    const oif = this.around.route(passage.packet, passage.mark)
    passage.oif = oif
    const local = oif === 'local'
    const stopped = this.filters(passage, local ? 'input' : 'forward', -Infinity, Infinity)
    if (stopped !== undefined) return this.outcome('rejected', passage, stopped)
    if (!local) this.translate(passage, 'postrouting')
    if (passage.first && passage.connection !== undefined) this.connections.push(passage.connection)
    return this.outcome(local ? 'delivered' : 'forwarded', passage, undefined)
  }

  /** What this machine's kernel itself sends: whether it leaves. */
  leaves(packet: Packet, oif: string): boolean {
    const passage: Passage = { packet, oif, mark: 0, zone: 0, first: true, ...fresh, trail: [] }
    return this.filters(passage, 'output', -Infinity, Infinity) === undefined
  }

  private outcome(verdict: Outcome['verdict'], passage: Passage, how: string | undefined): Outcome {
    const { packet, oif, mark, trail } = passage
    return { verdict, with: how, packet, oif: verdict === 'forwarded' ? oif : undefined, mark, trail }
  }

  /** Looks the packet up by its tuple: in the zone of its entry for the original direction, in none for replies. */
  private track(passage: Passage): undefined {
    const { packet, zone } = passage
    for (const connection of this.connections) {
      if (connection.protocol !== packet.protocol) continue
      const { original, translated } = connection
      if (connection.zone === zone && sameTuple(original, packet)) {
        const state = connection.answered ? 'established' : 'new'
        Object.assign(passage, { connection, first: false, state, direction: 'original' })
        return
      }
      if (sameTuple(turned(translated), packet)) {
        connection.answered = true
        Object.assign(passage, { connection, first: false, state: 'established', direction: 'reply' })
        return
      }
    }
    const { source, destination, sport, dport, protocol } = packet
    const original = { source, destination, sport, dport }
    passage.connection = { protocol, zone, original, translated: original, mark: 0, dnat: false, answered: false }
  }

  private translate(passage: Passage, at: 'prerouting' | 'postrouting'): undefined {
    const connection = passage.connection!
    if (passage.first) {
      for (const [name, { rules }] of this.hooked('nat', at)) this.chain(name, rules, passage)
      passage.packet = { ...passage.packet, ...connection.translated }
      if (at === 'postrouting') this.makeUnique(passage)
      return
    }
    const { original, translated } = connection
    const { packet } = passage
    if (passage.direction === 'original')
      passage.packet =
        at === 'prerouting'
          ? { ...packet, destination: translated.destination, dport: translated.dport }
          : { ...packet, source: translated.source, sport: translated.sport }
    else
      passage.packet =
        at === 'prerouting'
          ? { ...packet, destination: original.source, dport: original.sport }
          : { ...packet, source: original.destination, sport: original.dport }
  }

  /** Two connections whose replies would look alike: the kernel gives the later one another source port. */
  private makeUnique(passage: Passage): void {
    const connection = passage.connection!
    const taken = (tuple: Tuple) =>
      this.connections.some((other) => other.protocol === connection.protocol && sameTuple(other.translated, tuple))
    let tuple = connection.translated
    while (taken(tuple)) tuple = { ...tuple, sport: (tuple.sport % 65_535) + 1 }
    connection.translated = tuple
    passage.packet = { ...passage.packet, sport: tuple.sport }
  }

  private filters(passage: Passage, at: Hook['at'], after: number, upTo: number): string | undefined {
    for (const [name, { hook, rules }] of this.hooked('filter', at)) {
      if (hook!.priority <= after || hook!.priority > upTo) continue
      const verdict = this.chain(name, rules, passage)
      if (typeof verdict === 'object') return verdict.reject
    }
    return undefined
  }

  private hooked(type: Hook['type'], at: Hook['at']) {
    return [...this.table.chains]
      .filter(([, { hook }]) => hook?.type === type && hook.at === at)
      .sort(([, a], [, b]) => a.hook!.priority - b.hook!.priority)
  }

  private chain(name: string, rules: readonly Rule[], passage: Passage): Verdict {
    for (const { when, action } of rules) {
      if (!when.every((condition) => this.holds(condition, passage))) continue
      const verdict = this.act(name, action, passage)
      if (verdict !== 'continue') return verdict
    }
    return 'continue'
  }

  /** Notes what it did, unless it found no element for the packet. */
  private act(name: string, action: Action, passage: Passage): Verdict {
    const note = (verdict: string) => passage.trail.push(`${name} ${verdict}`)
    const enter = (chain: string): Verdict => {
      const next = this.table.chains.get(chain)
      if (next === undefined) throw new Error(`rule of ${name} leads to ${chain}, which is not there`)
      // Nothing behind a goto, so the base chain's policy decides.
      const verdict = this.chain(chain, next.rules, passage)
      return verdict === 'continue' ? 'accept' : verdict
    }
    switch (action.do) {
      case 'accept':
        note('accept')
        return 'accept'
      // Packets of tunnels are none that are traced.
      case 'notrack':
      case 'clamp-mss':
        note('continue')
        return 'continue'
      case 'drop':
        note('drop')
        return { reject: 'silence' }
      case 'reject':
        note('drop')
        return { reject: action.with }
      case 'goto':
        note(`goto ${action.chain}`)
        return enter(action.chain)
      case 'jump':
        throw new Error('no chain in the way of packets jumps')
      case 'verdict': {
        const verdict = this.element(action.map, action.of, passage)
        if (verdict === undefined) return 'continue'
        note(verdict)
        return enter(verdict.replace('goto ', ''))
      }
      case 'set': {
        const value = this.element(action.map, [action.of], passage)
        if (value === undefined) return 'continue'
        if (action.field === 'ct mark') passage.connection!.mark = Number(value)
        else passage.zone = Number(value)
        note('continue')
        return 'continue'
      }
      case 'copy':
        passage.mark = passage.connection!.mark
        note('continue')
        return 'continue'
      case 'masquerade':
        this.aim(passage, { source: this.around.addressOf(passage.oif, passage.packet.source) })
        note('accept')
        return 'accept'
      case 'dnat':
      case 'snat': {
        const value = this.target(action.to, passage)
        if (value === undefined) return 'continue'
        const [address = '', port] = value.split(' . ')
        if (action.do === 'snat') this.aim(passage, { source: address })
        else {
          this.aim(passage, { destination: address, ...(port === undefined ? {} : { dport: Number(port) }) })
          passage.connection!.dnat = true
        }
        note('accept')
        return 'accept'
      }
      case 'choose': {
        const chosen = this.chosen(action.among, passage)
        note(chosen)
        return enter(chosen.replace('goto ', ''))
      }
    }
  }

  private aim(passage: Passage, change: Partial<Tuple>): void {
    const connection = passage.connection!
    connection.translated = { ...connection.translated, ...change }
  }

  private target(target: Target, passage: Passage): string | undefined {
    if ('value' in target) return target.value
    if ('choice' in target) return this.chosen(target.choice, passage)
    if ('map' in target) return this.element(target.map, target.of, passage)
    return target.elements.get(keyIn(target.of, passage) ?? '')
  }

  private chosen({ by, values, places }: Choice, { packet }: Passage): string {
    if (by === 'random') return values[this.around.random(values.length)]!
    return values[places![clientPlace(packet.source, places!.length)!]!]!
  }

  private holds(condition: Condition, passage: Passage): boolean {
    if ('vxlan' in condition) {
      const { protocol, dport, vni = -1 } = passage.packet
      return protocol === 'udp' && condition.vxlan.includes(dport) && condition.numbers.includes(vni)
    }
    if ('fields' in condition && keyIn(condition.fields, passage) === undefined) return false
    if ('tcp' in condition) return passage.packet.protocol === 'tcp'
    if ('mask' in condition) return (passage.connection!.mark & condition.mask) >>> 0 === condition.value >>> 0
    const met =
      'fields' in condition
        ? this.element(condition.in, condition.fields, passage) !== undefined
        : condition.is.includes(read(condition.field, passage))
    return met !== (condition.not === true)
  }

  private element(name: string, fields: readonly Field[], passage: Passage): string | undefined {
    const set = this.table.sets.get(name)
    if (set === undefined) throw new Error(`there is no set ${name}`)
    const key = keyIn(fields, passage)
    if (key === undefined) return undefined
    return set.interval ? inInterval(set, key) : set.elements.get(key)
  }
}

function inInterval({ elements }: NamedSet, key: string): string | undefined {
  const address = parseAddress(key)
  for (const [text, value] of elements) {
    if (address === undefined) {
      if (contains6(parseSubnet6(text)!, parseAddress6(key)!)) return value
      continue
    }
    const { base, size } = parseSubnet(text)!
    if (address >= base && address < base + size) return value
  }
  return undefined
}

/** Undefined where a field is of the other family than the packet: such a rule is nothing to it. */
function keyIn(fields: readonly Field[], passage: Passage): string | undefined {
  const ofIpv6 = passage.packet.source.includes(':')
  if (fields.some((field) => /\bip6? /.test(field) && field.includes('ip6 ') !== ofIpv6)) return undefined
  return fields.map((field) => read(field, passage)).join(' . ')
}

function read(field: Field, { packet, oif, state, direction, connection }: Passage): string {
  switch (field) {
    case 'meta nfproto':
      return packet.source.includes(':') ? 'ipv6' : 'ipv4'
    case 'iifname':
      return `"${packet.iif}"`
    case 'oifname':
      return `"${oif}"`
    case 'ether saddr':
      return packet.ether
    case 'ip saddr':
    case 'ip6 saddr':
      return packet.source
    case 'ip daddr':
    case 'ip6 daddr':
      return packet.destination
    case 'meta l4proto':
      return packet.protocol
    case 'th dport':
      return String(packet.dport)
    case 'ct state':
      return state
    case 'ct direction':
      return direction
    case 'ct status':
      return connection?.dnat === true ? 'dnat' : ''
    case 'ct original ip daddr':
    case 'ct original ip6 daddr':
      return connection?.original.destination ?? ''
    default:
      throw new Error(`no rule reads ${field} of a packet`)
  }
}

function turned({ source, destination, sport, dport }: Tuple): Tuple {
  return { source: destination, destination: source, sport: dport, dport: sport }
}

function sameTuple(a: Tuple, b: Tuple): boolean {
  return a.source === b.source && a.destination === b.destination && a.sport === b.sport && a.dport === b.dport
}
