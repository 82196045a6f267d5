// The simulator's transports as the contract suite wants them: members of one cluster, without nodes.
import type { Admission } from '../../agent/transport/admission.ts'
import { transportTimes } from '../../agent/transport/admission.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Cluster, Station } from '../contract/transport/contract.ts'
import { createProcess } from './world/process.ts'
import { createSimTransport, type SimTransport } from './world/transport.ts'
import { createWorld } from './world/world.ts'

export async function simCluster(size: number): Promise<Cluster> {
  const world = createWorld(1)
  const members = Array.from({ length: size }, (_, i) => {
    const machine = world.addMachine()
    return { node: `${i}`.repeat(25), peerId: machine.name, listen: [machine.address], machine }
  })
  const transports = new Map<string, SimTransport>()
  const stations: Station[] = []
  for (const { node: self, machine } of members) {
    const process = createProcess(world.time, machine, stations.length)
    const transport = createSimTransport({
      self,
      time: world.time,
      chance: world.chance.stream(self),
      net: world.net,
      process,
      admission: admissionOf(self, members),
      listenerAt: (address) => {
        const found = members.find(({ listen }) => listen[0] === address)
        return found === undefined ? undefined : { machine: found.machine, transport: transports.get(address) }
      },
      isCertified: () => false,
      bootstrap: [],
      times: transportTimes.local,
    })
    transports.set(machine.address, transport)
    const made: Station = {
      transport,
      messages: [],
      arrived: [],
      lost: [],
      async crash() {
        process.end()
        transports.delete(machine.address)
      },
    }
    await transport.start({
      onMessage: (topic, from, bytes) => made.messages.push({ topic, from, text: Buffer.from(bytes).toString() }),
      onRequest: (_from, kind, bytes) => serve(self, kind, bytes),
      onConnected: (node) => made.arrived.push(node),
      onDisconnected: (node, why) => made.lost.push({ node, why }),
    })
    stations.push(made)
  }
  let closed = false
  // Time goes on by itself, as it does elsewhere: the suite awaits answers that only time brings.
  void (async () => {
    while (!closed) await world.time.runTo(world.time.now() + 10)
  })()
  return {
    stations,
    async until(what, condition) {
      const endMs = world.time.now() + 20_000
      while (!condition()) {
        if (world.time.now() > endMs) throw new Error(`waited 20 s of virtual time for ${what}`)
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
    },
    async close() {
      closed = true
    },
  }
}

function admissionOf(
  self: NodeId,
  members: readonly { readonly node: NodeId; readonly peerId: string; readonly listen: readonly string[] }[],
): Admission {
  return {
    isMember: (node) => members.some((member) => member.node === node),
    isRemoved: () => false,
    token: () => undefined,
    members: () => members.filter(({ node }) => node !== self),
    nameOf: (node) => node,
    seed: () => new Uint8Array(),
  }
}

async function serve(self: NodeId, kind: string, bytes: Uint8Array): Promise<Uint8Array> {
  if (kind === 'echo') return bytes
  if (kind === 'who') return Buffer.from(self)
  if (kind === 'never') return new Promise(() => {})
  throw new Error(`no answer to ${kind}`)
}
