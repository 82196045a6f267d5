// What a cluster of 10, 100 and 300 nodes costs, and how fast a change reaches all of it, at links of 1 to 5 ms.
import { expect, test } from 'vitest'
import { createGrownCluster } from './grown.ts'

/** 5 s: nodes that have just connected compare what they have; at 300 nodes what is left of that is over after 2 s. */
const warmUpMs = 5_000

test.each([
  { nodes: 10, idleMs: 20_000 },
  { nodes: 100, idleMs: 5_000 },
  { nodes: 300, idleMs: 3_000 },
])(
  'a change reaches all of $nodes nodes within 1 s',
  async ({ nodes, idleMs }) => {
    const cluster = await createGrownCluster(300 + nodes, nodes)
    const { world } = cluster
    const total = () => world.net.bytes.reduce((sum, bytes) => sum + bytes, 0)
    await cluster.run(warmUpMs)
    const before = total()
    await cluster.run(idleMs)
    const bytes = Math.round((total() - before) / nodes / (idleMs / 1000))
    // What gossip loses a neighbour's sync brings, some seconds later: the faults of the seeds.
    world.net.gossipLoss = 0
    const tookMs: number[] = []
    for (let round = 0; round < 5; round++) {
      const { view } = cluster.taking()[round]!.node!
      const member = view.members.get(view.self)!
      const value = { ...member.node, spec: { ...member.node.spec, Labels: { round: String(round) } } }
      const version = view.put({ scope: 'cluster', kind: 'node', id: view.self, value })
      const beganMs = world.time.now()
      const isEverywhere = () =>
        cluster.taking().every(({ node }) => node!.view.members.get(view.self)?.nodeVersion?.ms === version.ms)
      while (!isEverywhere() && world.time.now() - beganMs < 5_000) await cluster.run(5)
      tookMs.push(world.time.now() - beganMs)
    }
    const shown = tookMs.map((ms) => Math.round(ms)).join(', ')
    console.log(`${nodes} nodes: ${bytes} bytes a node and second when idle; changes reached all after ${shown} ms`)
    expect(Math.max(...tookMs)).toBeLessThan(1_000)
  },
  1_800_000,
)
