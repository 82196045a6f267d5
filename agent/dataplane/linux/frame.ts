/**
 * The part of the table that does not grow: its hooks, and which packets of tasks may go where (design.md 8).
 *
 * Every rule looks its packet up in a set or map, so that neither the number of rules nor the cost of a packet depends on the number of services. Packets
 * of established connections meet one rule in `forward`, and one more before it where they come from a bridge. Packets that have nothing to do with our
 * bridges and addresses are never judged. IPv6 has chains of its own, made by the same functions; IPv4 meets one rule more for it, with first packets only.
 */
import { type Family, ipv4, ipv6 } from './family.ts'
import { type Action, type Chain, type Condition, device, type Field, type Hook, type Rule } from './model.ts'

/** Numbers of entry nodes in marks: `gv` in the upper half, so that marks of other programs are told from ours. */
export const markBase = 0x6776_0000
export const markMask = 0xffff_0000

export interface FrameFacts {
  /** Source of what goes to userspace nodes. */
  readonly underlay: string
  /** Own IPv6 address; undefined without one, and then no port is published on one. */
  readonly underlay6: string | undefined
  /** Bridge of the ingress network; undefined while this node has none. */
  readonly ingress: string | undefined
  /** UDP ports at which tunnels end: here, and at other nodes. */
  readonly tunnelPorts: { readonly own: number; readonly far: readonly number[] }
  /** Tunnels that may pass through one device alone; undefined: there are none. */
  readonly sealed: Sealed | undefined
  /** Those that are carried: IPv4, and IPv6 where there is any. */
  readonly families: readonly Family[]
}

export interface Sealed {
  readonly device: string
  /** Their numbers. */
  readonly numbers: readonly number[]
}

const socket: readonly Field[] = ['ip daddr', 'meta l4proto', 'th dport']
const fromBridge: Condition = { fields: ['iifname'], in: 'bridges' }
const toBridge: Condition = { fields: ['oifname'], in: 'bridges' }
const internal: Condition = { fields: ['iifname'], in: 'internal' }
const atGateway = ({ daddr, suffix }: Family): Condition => ({ fields: [daddr], in: `gateways${suffix}` })
const redirected: Condition = { field: 'ct status', is: ['dnat'] }
/** The client asked one of our own addresses: a published port. */
const toOwn = ({ originalDaddr, suffix }: Family): Condition => ({ fields: [originalDaddr], in: `own${suffix}` })
const isIpv6: Condition = { field: 'meta nfproto', is: ['ipv6'] }
const toStranger: Condition = { fields: socket, in: 'stranger_ends' }
const accept: Action = { do: 'accept' }
const drop: Action = { do: 'drop' }
const goto = (chain: string): Action => ({ do: 'goto', chain })
const rule = (action: Action, ...when: readonly Condition[]): Rule => ({ when, action })
const known = rule(accept, { field: 'ct state', is: ['established', 'related'] })
const clamp = rule({ do: 'clamp-mss' }, { tcp: 'syn' })

export function frame(facts: FrameFacts): ReadonlyMap<string, Chain> {
  const { families } = facts
  const also = (name: string) => (families.includes(ipv6) ? [rule(goto(name), isIpv6)] : [])
  return new Map<string, Chain>([
    ['zoning', chain({ type: 'filter', at: 'prerouting', priority: -300 }, arriving(facts), ...zoning(facts))],
    ['tunnelling', chain({ type: 'filter', at: 'output', priority: -300 }, leaving(facts))],
    ['entry', chain({ type: 'filter', at: 'prerouting', priority: -150 }, ...entry(facts))],
    [
      'redirection',
      chain({ type: 'nat', at: 'prerouting', priority: -100 }, ...redirection(ipv4), ...also('redirection6')),
    ],
    ['source', chain({ type: 'nat', at: 'postrouting', priority: 100 }, ...source(ipv4, facts), ...also('source6'))],
    [
      'forward',
      chain(
        { type: 'filter', at: 'forward', priority: 0 },
        ...sealedForward(facts),
        known,
        ...also('forward6'),
        ...forward(ipv4),
      ),
    ],
    [
      'input',
      chain(
        { type: 'filter', at: 'input', priority: 0 },
        ...sealedInput(facts),
        known,
        ...also('input6'),
        ...input(ipv4),
      ),
    ],
    ...output(facts),
    ...families.flatMap((family) => sides(family, facts)),
    ...(families.includes(ipv6)
      ? ([
          ['redirection6', chain(undefined, ...redirection(ipv6))],
          ['source6', chain(undefined, ...source(ipv6, facts))],
          ['forward6', chain(undefined, ...forward(ipv6))],
          ['input6', chain(undefined, ...input(ipv6))],
        ] as const)
      : []),
    ['refused', chain(undefined, ...refused())],
    ['barred', chain(undefined, rule({ do: 'reject', with: 'icmpx admin-prohibited' }))],
    // Can be deleted only when the rules are gone: that is how nft.ts sees that somebody flushed the table.
    ['witness', chain(undefined, rule({ do: 'jump', chain: 'witnessed' }))],
    ['witnessed', chain(undefined)],
  ])
}

function chain(hook: Hook | undefined, ...rules: readonly Rule[]): Chain {
  return { hook, rules }
}

/** What leads to and from tasks. */
function sides(family: Family, facts: FrameFacts): readonly (readonly [string, Chain])[] {
  const { suffix } = family
  return [
    [`from_tasks${suffix}`, chain(undefined, ...fromTasks(family, facts))],
    [`to_tasks${suffix}`, chain(undefined, clamp, rule(accept, redirected, toOwn(family)), rule(goto('barred')))],
    [`tasks_to_node${suffix}`, chain(undefined, ...tasksToNode(family))],
  ]
}

/**
 * What is in a tunnel is tracked as what it is. Tracked once more as datagrams, a connection would cost each of the two machines two entries for nothing:
 * both ends send from ports of their own, so no entry ever sees an answer.
 */
function arriving({ underlay, tunnelPorts }: FrameFacts): Rule {
  return tunnelled([tunnelPorts.own], { field: 'ip daddr', is: [underlay] })
}

function leaving({ underlay, tunnelPorts }: FrameFacts): Rule {
  return tunnelled(tunnelPorts.far, { field: 'ip saddr', is: [underlay] })
}

function tunnelled(ports: readonly number[], here: Condition): Rule {
  const toTunnel: Condition = { field: 'th dport', is: ports.map(String) }
  return rule({ do: 'notrack' }, { field: 'meta l4proto', is: ['udp'] }, toTunnel, here)
}

/**
 * Connections that come through different entry nodes are tracked apart, so that a client may use one source port towards two of them. The zone is for
 * the original direction alone: replies are found without it, and where two would look alike the kernel changes the later one's source port.
 */
function zoning({ ingress }: FrameFacts): readonly Rule[] {
  if (ingress === undefined) return []
  const fromIngress: Condition = { field: 'iifname', is: [device(ingress)] }
  return [rule({ do: 'set', field: 'ct original zone', of: 'ether saddr', map: 'zones' }, fromIngress)]
}

/** Remembers the node through which a connection came, by its hardware address, and marks the replies for the route back through it. */
function entry({ ingress }: FrameFacts): readonly Rule[] {
  if (ingress === undefined) return []
  const fromIngress: Condition = { field: 'iifname', is: [device(ingress)] }
  return [
    rule({ do: 'set', field: 'ct mark', of: 'ether saddr', map: 'entries' }, fromIngress, {
      field: 'ct state',
      is: ['new'],
    }),
    rule(
      { do: 'copy', from: 'ct mark', to: 'meta mark' },
      fromIngress,
      { field: 'ct direction', is: ['reply'] },
      { field: 'ct mark', mask: markMask, value: markBase },
    ),
  ]
}

/** Strangers, the tasks of userspace nodes, are reached at IPv4 addresses only, here and below. */
function redirection({ suffix, daddr }: Family): readonly Rule[] {
  const port: readonly Field[] = ['meta l4proto', 'th dport']
  return [
    rule({ do: 'verdict', of: port, map: `published${suffix}` }, { fields: [daddr], in: `own${suffix}` }),
    rule({ do: 'verdict', of: ['iifname', daddr], map: `vips${suffix}` }),
    ...(suffix === '6' ? [] : [rule({ do: 'dnat', ip: 'ip', to: { of: ['iifname', ...socket], map: 'strangers' } })]),
  ]
}

/** Only where the reply would not come back through us otherwise; everywhere else the client's address is kept. */
function source(family: Family, { underlay, underlay6 }: FrameFacts): readonly Rule[] {
  const { suffix, word, saddr, daddr } = family
  const value = suffix === '6' ? underlay6 : underlay
  const ours: readonly Action[] = value === undefined ? [] : [{ do: 'snat', ip: word, to: { value } }]
  const ofMember: Condition = { fields: [saddr], in: `members${suffix}` }
  const ofTask: Condition = { fields: [saddr], in: `subnets${suffix}` }
  return [
    rule({ do: 'snat', ip: word, to: { of: [saddr, daddr], map: `hairpin${suffix}` } }),
    ...ours.flatMap((action) => [
      ...(suffix === '6' ? [] : [rule(action, redirected, toStranger)]),
      rule(action, redirected, toOwn(family), toBridge, ofMember),
      rule(action, redirected, toOwn(family), toBridge, ofTask),
    ]),
    rule({ do: 'masquerade' }, ofTask, { fields: ['oifname'], in: 'bridges', not: true }),
  ]
}

function forward({ suffix }: Family): readonly Rule[] {
  return [rule(goto(`from_tasks${suffix}`), fromBridge), rule(goto(`to_tasks${suffix}`), toBridge)]
}

function sealedForward({ sealed }: FrameFacts): readonly Rule[] {
  return sealed === undefined ? [] : [rule(drop, { field: 'iifname', is: [device(sealed.device)] })]
}

/**
 * The kernel takes a tunnel's packets from any device: whoever reaches the port could write into an encrypted network in clear (CVE-2023-28840). Nothing
 * but tunnels comes out of WireGuard, so that it is no way around what another firewall of the machine guards.
 */
function sealedInput({ sealed, tunnelPorts: { own } }: FrameFacts): readonly Rule[] {
  if (sealed === undefined) return []
  const { device: name, numbers } = sealed
  const inside: Condition = { field: 'iifname', is: [device(name)] }
  return [
    rule(drop, { ...inside, not: true }, { vxlan: [own], numbers }),
    rule(accept, inside, { field: 'meta l4proto', is: ['udp'] }, { field: 'th dport', is: [String(own)] }),
    rule(drop, inside),
  ]
}

/** However the machine's routes are changed. No hook at all where there is nothing to keep in. */
function output({ sealed, tunnelPorts: { far } }: FrameFacts): readonly (readonly [string, Chain])[] {
  if (sealed === undefined) return []
  const { device: name, numbers } = sealed
  const kept = rule(drop, { field: 'oifname', is: [device(name)], not: true }, { vxlan: far, numbers })
  return [['output', { hook: { type: 'filter', at: 'output', priority: 0 }, rules: [kept] }]]
}

function fromTasks(family: Family, { ingress }: FrameFacts): readonly Rule[] {
  const throughEntry: readonly Condition[] =
    ingress === undefined
      ? []
      : [
          { field: 'iifname', is: [device(ingress)] },
          { field: 'oifname', is: [device(ingress)] },
          { field: 'ct mark', mask: markMask, value: markBase },
        ]
  return [
    rule(goto('refused'), { fields: ['iifname', family.daddr], in: `refused_vips${family.suffix}` }),
    clamp,
    rule(accept, { fields: ['iifname', 'oifname'], in: 'same' }),
    rule(goto('barred'), internal, toOwn(family)),
    rule(accept, redirected, toOwn(family)),
    ...(family.suffix === '6' ? [] : [rule(accept, redirected, toStranger)]),
    ...(ingress === undefined ? [] : [rule(accept, ...throughEntry)]),
    rule(goto('barred'), toBridge),
    rule(goto('barred'), internal),
    rule(accept),
  ]
}

function input(family: Family): readonly Rule[] {
  const { suffix, daddr } = family
  return [
    rule(
      goto('refused'),
      { fields: [daddr], in: `own${suffix}` },
      { fields: ['meta l4proto', 'th dport'], in: 'refused_ports' },
    ),
    rule(goto(`tasks_to_node${suffix}`), fromBridge),
    // Whoever routes an overlay's subnet to this machine would be answered by a task's resolver otherwise.
    rule(goto('barred'), atGateway(family), { field: 'iifname', is: [device('lo')], not: true }),
  ]
}

/** A task asks its own resolver and nobody else's, and finds nothing else at a gateway. */
function tasksToNode(family: Family): readonly Rule[] {
  const { suffix } = family
  return [
    ...(suffix === '6' ? [] : [rule(accept, { fields: ['ip saddr', ...socket], in: 'resolvers' })]),
    rule(goto('refused'), atGateway(family), { field: 'meta l4proto', is: ['tcp', 'udp', 'sctp'] }),
    rule(accept, atGateway(family)),
    // An IPv6 packet to ::1 from outside the kernel drops by itself.
    ...(suffix === '6' ? [] : [rule(goto('barred'), { fields: ['ip daddr'], in: 'loopback' })]),
    rule(goto('barred'), internal),
  ]
}

function refused(): readonly Rule[] {
  return [
    rule({ do: 'reject', with: 'tcp reset' }, { field: 'meta l4proto', is: ['tcp'] }),
    rule({ do: 'reject', with: 'icmpx port-unreachable' }),
  ]
}
