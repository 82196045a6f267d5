/**
 * The part of the table that does not grow: its hooks, and which packets of tasks may go where (design.md 8).
 *
 * Every rule looks its packet up in a set or map, so that neither the number of rules nor the cost of a packet depends on the number of services. Packets
 * of established connections meet one rule in `forward`, and one more before it where they come from a bridge. Packets that have nothing to do with our
 * bridges and addresses are never judged.
 */
import { type Action, type Chain, type Condition, device, type Field, type Hook, type Rule } from './model.ts'
import { vxlanPort } from './names.ts'

/** Numbers of entry nodes in marks: `gv` in the upper half, so that marks of other programs are told from ours. */
export const markBase = 0x6776_0000
export const markMask = 0xffff_0000

export interface FrameFacts {
  /** Source of what goes to userspace nodes. */
  readonly underlay: string
  /** Bridge of the ingress network; undefined while this node has none. */
  readonly ingress: string | undefined
  /** Tunnels that may pass through one device alone; undefined: there are none. */
  readonly sealed: Sealed | undefined
}

export interface Sealed {
  readonly device: string
  readonly vxlanPort: number
  /** Ports at which the tunnels of other nodes end. */
  readonly farPorts: readonly number[]
  /** Their numbers. */
  readonly numbers: readonly number[]
}

const socket: readonly Field[] = ['ip daddr', 'meta l4proto', 'th dport']
const fromBridge: Condition = { fields: ['iifname'], in: 'bridges' }
const toBridge: Condition = { fields: ['oifname'], in: 'bridges' }
const internal: Condition = { fields: ['iifname'], in: 'internal' }
const atGateway: Condition = { fields: ['ip daddr'], in: 'gateways' }
const redirected: Condition = { field: 'ct status', is: ['dnat'] }
/** The client asked one of our own addresses: a published port. */
const toOwn: Condition = { fields: ['ct original ip daddr'], in: 'own' }
const toStranger: Condition = { fields: socket, in: 'stranger_ends' }
const accept: Action = { do: 'accept' }
const drop: Action = { do: 'drop' }
const goto = (chain: string): Action => ({ do: 'goto', chain })
const rule = (action: Action, ...when: readonly Condition[]): Rule => ({ when, action })
const known = rule(accept, { field: 'ct state', is: ['established', 'related'] })
const clamp = rule({ do: 'clamp-mss' }, { tcp: 'syn' })

export function frame(facts: FrameFacts): ReadonlyMap<string, Chain> {
  const chain = (hook: Hook | undefined, ...rules: readonly Rule[]): Chain => ({ hook, rules })
  return new Map([
    [
      'zoning',
      chain({ type: 'filter', at: 'prerouting', priority: -300 }, tunnelled('ip daddr', facts), ...zoning(facts)),
    ],
    ['tunnelling', chain({ type: 'filter', at: 'output', priority: -300 }, tunnelled('ip saddr', facts))],
    ['entry', chain({ type: 'filter', at: 'prerouting', priority: -150 }, ...entry(facts))],
    ['redirection', chain({ type: 'nat', at: 'prerouting', priority: -100 }, ...redirection())],
    ['source', chain({ type: 'nat', at: 'postrouting', priority: 100 }, ...source(facts))],
    ['forward', chain({ type: 'filter', at: 'forward', priority: 0 }, ...forward(facts))],
    ['from_tasks', chain(undefined, ...fromTasks(facts))],
    ['to_tasks', chain(undefined, clamp, rule(accept, redirected, toOwn), rule(goto('barred')))],
    ['input', chain({ type: 'filter', at: 'input', priority: 0 }, ...input(facts))],
    ...output(facts),
    ['tasks_to_node', chain(undefined, ...tasksToNode())],
    ['refused', chain(undefined, ...refused())],
    ['barred', chain(undefined, rule({ do: 'reject', with: 'icmpx admin-prohibited' }))],
    // Can be deleted only when the rules are gone: that is how nft.ts sees that somebody flushed the table.
    ['witness', chain(undefined, rule({ do: 'jump', chain: 'witnessed' }))],
    ['witnessed', chain(undefined)],
  ])
}

/**
 * What is in a tunnel is tracked as what it is. Tracked once more as datagrams, a connection would cost each of the two machines two entries for nothing:
 * both ends send from ports of their own, so no entry ever sees an answer.
 */
function tunnelled(own: 'ip saddr' | 'ip daddr', { underlay }: FrameFacts): Rule {
  return rule(
    { do: 'notrack' },
    { field: 'meta l4proto', is: ['udp'] },
    { field: 'th dport', is: [String(vxlanPort)] },
    { field: own, is: [underlay] },
  )
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

function redirection(): readonly Rule[] {
  return [
    rule({ do: 'verdict', of: ['meta l4proto', 'th dport'], map: 'published' }, { fields: ['ip daddr'], in: 'own' }),
    rule({ do: 'verdict', of: ['iifname', 'ip daddr'], map: 'vips' }),
    rule({ do: 'dnat', to: { of: ['iifname', ...socket], map: 'strangers' } }),
  ]
}

/** Only where the reply would not come back through us otherwise; everywhere else the client's address is kept. */
function source({ underlay }: FrameFacts): readonly Rule[] {
  const ours: Action = { do: 'snat', to: { value: underlay } }
  return [
    rule({ do: 'snat', to: { of: ['ip saddr', 'ip daddr'], map: 'hairpin' } }),
    rule(ours, redirected, toStranger),
    rule(ours, redirected, toOwn, toBridge, { fields: ['ip saddr'], in: 'members' }),
    rule(ours, redirected, toOwn, toBridge, { fields: ['ip saddr'], in: 'subnets' }),
    rule(
      { do: 'masquerade' },
      { fields: ['ip saddr'], in: 'subnets' },
      { fields: ['oifname'], in: 'bridges', not: true },
    ),
  ]
}

function forward({ sealed }: FrameFacts): readonly Rule[] {
  return [
    ...(sealed === undefined ? [] : [rule(drop, { field: 'iifname', is: [device(sealed.device)] })]),
    known,
    rule(goto('from_tasks'), fromBridge),
    rule(goto('to_tasks'), toBridge),
  ]
}

/**
 * The kernel takes a tunnel's packets from any device: whoever reaches the port could write into an encrypted network in clear (CVE-2023-28840). Nothing
 * but tunnels comes out of WireGuard, so that it is no way around what another firewall of the machine guards.
 */
function sealedInput({ sealed }: FrameFacts): readonly Rule[] {
  if (sealed === undefined) return []
  const { device: name, vxlanPort, numbers } = sealed
  const inside: Condition = { field: 'iifname', is: [device(name)] }
  return [
    rule(drop, { ...inside, not: true }, { vxlan: [vxlanPort], numbers }),
    rule(accept, inside, { field: 'meta l4proto', is: ['udp'] }, { field: 'th dport', is: [String(vxlanPort)] }),
    rule(drop, inside),
  ]
}

/** However the machine's routes are changed. No hook at all where there is nothing to keep in. */
function output({ sealed }: FrameFacts): readonly (readonly [string, Chain])[] {
  if (sealed === undefined) return []
  const { device: name, farPorts, numbers } = sealed
  const kept = rule(drop, { field: 'oifname', is: [device(name)], not: true }, { vxlan: farPorts, numbers })
  return [['output', { hook: { type: 'filter', at: 'output', priority: 0 }, rules: [kept] }]]
}

function fromTasks({ ingress }: FrameFacts): readonly Rule[] {
  const throughEntry: readonly Condition[] =
    ingress === undefined
      ? []
      : [
          { field: 'iifname', is: [device(ingress)] },
          { field: 'oifname', is: [device(ingress)] },
          { field: 'ct mark', mask: markMask, value: markBase },
        ]
  return [
    rule(goto('refused'), { fields: ['iifname', 'ip daddr'], in: 'refused_vips' }),
    clamp,
    rule(accept, { fields: ['iifname', 'oifname'], in: 'same' }),
    rule(goto('barred'), internal, toOwn),
    rule(accept, redirected, toOwn),
    rule(accept, redirected, toStranger),
    ...(ingress === undefined ? [] : [rule(accept, ...throughEntry)]),
    rule(goto('barred'), toBridge),
    rule(goto('barred'), internal),
    rule(accept),
  ]
}

function input(facts: FrameFacts): readonly Rule[] {
  return [
    ...sealedInput(facts),
    known,
    rule(
      goto('refused'),
      { fields: ['ip daddr'], in: 'own' },
      { fields: ['meta l4proto', 'th dport'], in: 'refused_ports' },
    ),
    rule(goto('tasks_to_node'), fromBridge),
    // Whoever routes an overlay's subnet to this machine would be answered by a task's resolver otherwise.
    rule(goto('barred'), atGateway, { field: 'iifname', is: [device('lo')], not: true }),
  ]
}

/** A task asks its own resolver and nobody else's, and finds nothing else at a gateway. */
function tasksToNode(): readonly Rule[] {
  return [
    rule(accept, { fields: ['ip saddr', ...socket], in: 'resolvers' }),
    rule(goto('refused'), atGateway, { field: 'meta l4proto', is: ['tcp', 'udp', 'sctp'] }),
    rule(accept, atGateway),
    rule(goto('barred'), { fields: ['ip daddr'], in: 'loopback' }),
    rule(goto('barred'), internal),
  ]
}

function refused(): readonly Rule[] {
  return [
    rule({ do: 'reject', with: 'tcp reset' }, { field: 'meta l4proto', is: ['tcp'] }),
    rule({ do: 'reject', with: 'icmpx port-unreachable' }),
  ]
}
