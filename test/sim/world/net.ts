// The network between machines: every direction of every pair has its own fate. What is sent arrives after 1 to 5 ms, in any order, or, cut,
// never; a clogged direction holds everything back and, freed, lets it go in any order.
import type { Chance } from './chance.ts'
import type { Machine } from './machine.ts'
import type { SimTime } from './time.ts'

export interface Net {
  /** `arrive` runs when the packet is there; `quiet` as in SimTime. */
  send(from: Machine, to: Machine, packet: Packet): void
  cut(from: Machine, to: Machine): void
  mend(from: Machine, to: Machine): void
  isCut(from: Machine, to: Machine): boolean
  clog(from: Machine, to: Machine): void
  /** Whether anything to or from the machine is held back. */
  isClogged(machine: Machine): boolean
  /** Lets go what is held, in random order. */
  unclog(from: Machine, to: Machine): void
  freeAll(): void
  /** All directions as at the beginning; clogged ones are freed one by one, in random order. */
  heal(): void
  /** Bytes sent by each machine since the beginning, by index. */
  bytes: number[]
  messages: number[]
  delayMs: readonly [number, number]
  /** Part of the copies of a gossip message that are lost though the link is whole. */
  gossipLoss: number
}

export interface Packet {
  readonly bytes: number
  readonly quiet: boolean
  arrive(): void
}

interface Link {
  cut: boolean
  held: Packet[] | undefined
}

/** What TCP, Noise and yamux put around a message: 20 + 20 + 16 + 12, and an acknowledgement for every other one. */
const overheadBytes = 88

export function createNet(time: SimTime, chance: Chance): Net {
  const links = new Map<number, Link>()
  /** Machines of clogged directions, until all is healed. */
  const clogged = new Set<number>()
  const keyOf = (from: Machine, to: Machine) => from.index * 4096 + to.index

  function linkOf(from: Machine, to: Machine): Link {
    const key = keyOf(from, to)
    let found = links.get(key)
    if (found === undefined) {
      found = { cut: false, held: undefined }
      links.set(key, found)
    }
    return found
  }

  function deliver(packet: Packet): void {
    const ms = chance.between(...net.delayMs)
    if (packet.quiet) time.quietly(ms, packet.arrive)
    else time.after(ms, packet.arrive)
  }

  function free(link: Link): void {
    const held = link.held ?? []
    link.held = undefined
    if (link.cut) return
    for (const packet of chance.shuffled(held)) deliver(packet)
  }

  const net: Net = {
    bytes: [],
    messages: [],
    delayMs: [1, 5],
    gossipLoss: 0.01,
    send(from, to, packet) {
      net.bytes[from.index] = (net.bytes[from.index] ?? 0) + packet.bytes + overheadBytes
      net.messages[from.index] = (net.messages[from.index] ?? 0) + 1
      const link = links.get(keyOf(from, to))
      if (link?.cut) return
      if (link?.held !== undefined) link.held.push(packet)
      else deliver(packet)
    },
    cut: (from, to) => {
      linkOf(from, to).cut = true
    },
    mend: (from, to) => {
      linkOf(from, to).cut = false
    },
    isCut: (from, to) => links.get(keyOf(from, to))?.cut === true,
    clog: (from, to) => {
      linkOf(from, to).held ??= []
      clogged.add(from.index).add(to.index)
    },
    isClogged: (machine) => clogged.has(machine.index),
    unclog: (from, to) => free(linkOf(from, to)),
    freeAll() {
      for (const link of chance.shuffled([...links.values()])) if (link.held !== undefined) free(link)
      clogged.clear()
    },
    heal() {
      for (const link of links.values()) link.cut = false
      net.freeAll()
      links.clear()
    },
  }
  return net
}
