/**
 * The kernel's way of the linux data plane: one nftables table of our own, made so from `routes()` (design.md 8).
 *
 * Owns the table `inet grapevine`, the policy routes of replies through entry nodes, and the conntrack entries of our addresses while their network is
 * here (when it goes: networks.ts). Never touches another program's table, and never a device: those are devices.ts.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import { ingressNetwork } from '../../../protocol/model.ts'
import type { Routes } from '../../core/routes/types.ts'
import { assert, fault, reasonOf } from '../../fault.ts'
import { createTurns } from '../../turns.ts'
import type { Clock, Log } from '../../world.ts'
import { currentBackends, forgetOutdated } from './conntrack.ts'
import { forgetDeparted, type Population, populationOf } from './departed.ts'
import type { TaskLinks } from './devices.ts'
import { familiesOf, ipv4 } from './family.ts'
import { EntryNumbers, makeReplyRoutes, numbersFound, readReplyRoutes } from './marks.ts'
import { emptyMemory } from './memory.ts'
import type { Table } from './model.ts'
import { bridgeName, nodeMac } from './names.ts'
import { createNft } from './nft.ts'
import { renderTable } from './render.ts'
import { difference, replacement, tableName } from './text.ts'

/** What `apply` makes so. */
export interface FirewallInput {
  readonly self: NodeId
  /** With `overlay`. */
  readonly routes: Routes
  /** Own address that other nodes reach: source of what is forwarded to userspace nodes. */
  readonly underlay: string
  /** Own addresses on which published ports are served (`--address`). */
  readonly addresses: readonly string[]
  /** The one device through which tunnels of encrypted networks come and go, and the port of all tunnels. */
  readonly encrypted: { readonly device: string; readonly vxlanPort: number }
  readonly local: readonly TaskLinks[]
}

export interface FirewallOptions {
  readonly clock: Clock
  readonly log: Log
  /** The table had been flushed or deleted by another program, and is whole again. */
  onRestored(): void
}

export interface Firewall {
  /** Makes it so; resolves when new connections obey it. Rejects with a Fault ('unavailable') when the kernel refuses the whole table too. */
  apply(input: FirewallInput): Promise<void>
  /** Replies to the nodes of the last input go back the way they came. Once their bridge is there, which is made beside `apply`. */
  routeReplies(): Promise<void>
  /** Devices were made anew: what belongs to the table beside it (routes of replies) is compared at the next look. */
  lookSoon(): void
  /** Ends the processes of ours. The table stays: the kernel goes on forwarding while the agent restarts. */
  close(): Promise<void>
  counters(): FirewallCounters
}

export interface FirewallCounters {
  /** Times that the table was found flushed and made whole. */
  readonly restored: number
  /** Times that the whole table was written: the first time, after an error, and to restore it. */
  readonly rewrites: number
  /** UDP conntrack entries deleted because their backend is gone. */
  readonly udpForgotten: number
}

/** 500 ms: with the time that writing a large table takes, what another program flushed is back within 2 s. */
const lookMs = 500
/** 10 s: what the kernel holds beside the table is compared this often; connections with the next look after a change, too. */
const sweepMs = 10_000

/** Writes nothing before the first `apply`: what an earlier run of the agent left goes on forwarding. Rejects with a Fault where nft is missing. */
export async function createFirewall({ clock, log, onRestored }: FirewallOptions): Promise<Firewall> {
  const nft = createNft(clock)
  const numbers = new EntryNumbers()
  const memory = emptyMemory()
  let input: FirewallInput | undefined
  /** What the kernel has; undefined when that is not known. */
  let held: Table | undefined
  let generation = 0
  let counters: FirewallCounters = { restored: 0, rewrites: 0, udpForgotten: 0 }
  let numbered: Promise<void> | undefined
  /** Nodes to which replies find back; undefined before they have been routed once. */
  let routedFor: string | undefined
  let population: Population | undefined
  /** When connections, and routes of replies, are compared next. */
  let connectionsAtMs = 0
  let repliesAtMs = 0
  let lastTrouble = ''
  let closed = false
  const inTurn = createTurns(1)
  /** For what is beside the table. */
  const besideInTurn = createTurns(1)

  await nft.look().catch((error: unknown) => {
    nft.close()
    throw fault('unavailable', `nft does not answer: ${reasonOf(error)}`, 'Install nftables', error)
  })

  async function makeSo(wanted: FirewallInput): Promise<void> {
    const table = renderTable({ ...wanted, numbers: numbers.of(linuxNodes(wanted)) }, memory)
    if (held === undefined) return await rewrite(table)
    const changes = difference(held, table)
    if (changes.length === 0) return
    try {
      await nft.transact([...changes, ...generationIs(generation + 1)])
      generation += 1
      hold(table)
    } catch (error) {
      log.warn('nft refused a change; the whole table is written anew', { reason: reasonOf(error) })
      await rewrite(table)
    }
  }

  async function rewrite(table: Table): Promise<void> {
    held = undefined
    generation += 1
    counters = { ...counters, rewrites: counters.rewrites + 1 }
    await nft.transact([...replacement(table), ...generationIs(generation)])
    hold(table)
  }

  /** The kernel has it: connections that the one before led elsewhere are looked for after, not before it. */
  function hold(table: Table): void {
    held = table
    connectionsAtMs = 0
  }

  /** Connections that were open when the agent ended carry the numbers that it had given. */
  async function adoptNumbers(wanted: FirewallInput): Promise<void> {
    if (!hasIngress(wanted)) return
    const found = numbersFound(await readReplyRoutes(bridgeName(ingressNetwork), ipv4))
    for (const node of linuxNodes(wanted)) {
      const number = found.get(nodeMac(node))
      if (number !== undefined) numbers.adopt(node, number)
    }
  }

  /**
   * What belongs to the table but is not in it: routes of replies and tracked connections. Compared, since devices are made anew beside us. It takes
   * some hundred ms, for which no change of the table may wait: each reading of what is wanted is the last one.
   */
  async function sweep(): Promise<void> {
    connectionsAtMs = clock.now() + sweepMs
    try {
      // Six programs, and each costs this process some ms to start: not after every change. Not before they have been routed once: their bridge is made
      // beside us.
      if (routedFor !== undefined && clock.now() >= repliesAtMs) await routeReplies()
      const forgotten = await forgetOutdated(() => currentBackends(latest().routes, latest().addresses))
      counters = { ...counters, udpForgotten: counters.udpForgotten + forgotten }
      population = await forgetDeparted(population, () => populationOf(latest().routes, latest().local))
      lastTrouble = ''
    } catch (error) {
      trouble('the kernel did not take what belongs to the nft table', error)
    }
  }

  /** Of what is wanted now, not when the work began. */
  function latest(): FirewallInput {
    assert(input !== undefined, 'nothing is compared with what is wanted before anything is')
    return input
  }

  async function sweepIfDue(): Promise<void> {
    if (input !== undefined && !closed && clock.now() >= connectionsAtMs) await besideInTurn(sweep)
  }

  async function routeReplies(): Promise<void> {
    const wanted = latest()
    repliesAtMs = clock.now() + sweepMs
    if (!hasIngress(wanted)) return
    const nodes = linuxNodes(wanted)
    const families = familiesOf((wanted.routes.overlay?.networks ?? []).filter(({ id }) => id === ingressNetwork))
    for (const family of families) await makeReplyRoutes(bridgeName(ingressNetwork), numbers.of(nodes), family)
    routedFor = nodes.join()
  }

  async function look(): Promise<void> {
    if (input === undefined || closed) return
    try {
      if (held === undefined) await makeSo(input)
      else if (!(await isIntact())) {
        await rewrite(held)
        counters = { ...counters, restored: counters.restored + 1 }
        onRestored()
      }
    } catch (error) {
      trouble('the nft table could not be looked at or restored', error)
    }
  }

  async function isIntact(): Promise<boolean> {
    const found = await nft.look()
    return found !== undefined && Number(found) === generation
  }

  /** Once for each change of cause. */
  function trouble(what: string, error: unknown): void {
    const reason = reasonOf(error)
    if (reason !== lastTrouble) log.error(what, { reason })
    lastTrouble = reason
  }

  function lookAgain(): void {
    if (closed) return
    clock.after(lookMs, () => void inTurn(look).then(sweepIfDue).then(lookAgain))
  }
  lookAgain()

  return {
    apply: (wanted) =>
      inTurn(async () => {
        // Without the bridge, which is made before us, there is nothing to adopt.
        numbered ??= adoptNumbers(wanted).catch(() => {})
        await numbered
        input = wanted
        await makeSo(wanted)
      }),
    async routeReplies() {
      if (input === undefined || linuxNodes(input).join() === routedFor) return
      await besideInTurn(() => routeReplies()).catch((error) => {
        trouble('replies find no way back to other nodes', error)
      })
    },
    lookSoon() {
      connectionsAtMs = 0
      repliesAtMs = 0
    },
    async close() {
      closed = true
      // What is under way ends first.
      await Promise.all([inTurn(async () => {}), besideInTurn(async () => {})])
      nft.close()
    },
    counters: () => counters,
  }
}

function linuxNodes({ routes }: FirewallInput): readonly NodeId[] {
  return (routes.overlay?.nodes ?? []).filter(({ dataplane }) => dataplane === 'linux').map(({ node }) => node)
}

function hasIngress({ routes }: FirewallInput): boolean {
  return routes.overlay?.networks.some(({ id }) => id === ingressNetwork) ?? false
}

/** A mark by which the table is known again (nft.ts). */
function generationIs(generation: number): readonly string[] {
  return [`flush set ${tableName} generation`, `add element ${tableName} generation { ${generation} }`]
}
