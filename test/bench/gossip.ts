/** One change a second among 25 real agents: a label written at one, heard of at the 24 others through their event streams. */
import { until } from '../until.ts'
import { readEvents } from './events.ts'
import { atMost, type Figure, pause } from './figure.ts'
import { type Machine, nodeIds, openSwarm } from './swarm.ts'

const nodes = 25
const changes = 60
const everyMs = 1_000

export const gossip: Figure = {
  name: 'gossip',
  title: 'One change a second among 25 real agents; from the request at one to the event at each of the others',
  tools: [],
  async measure(say) {
    const swarm = await openSwarm({ nodes })
    const { machines } = swarm
    const heard = new Map<string, Map<string, number>>()
    let [open, current] = [0, '']
    const ends = machines.map((machine) =>
      readEvents(
        machine,
        ({ type, action, id, heardMs }) => {
          if (type === 'node' && action === 'update' && id === current) heard.get(id)?.set(machine.name, heardMs)
        },
        () => {
          open += 1
        },
      ),
    )
    try {
      await until(() => open === nodes, { deadlineMs: 10_000, what: 'all event streams' })
      const ids = await nodeIds(swarm.first)
      await pause(5_000)
      const rounds: { readonly each: readonly number[]; readonly lastMs: number }[] = []
      for (let i = 0; i < changes; i++) {
        const nextMs = performance.now() + everyMs
        const writer = machines[i % nodes]!
        current = ids.get(writer.name)!
        const times = new Map<string, number>()
        heard.set(current, times)
        const sentMs = await relabel(writer, current, i)
        await pause(nextMs - performance.now())
        times.delete(writer.name)
        const each = [...times.values()].map((ms) => ms - sentMs)
        rounds.push({ each, lastMs: each.length === nodes - 1 ? Math.max(...each) : Number.POSITIVE_INFINITY })
        if (i % 10 === 9) say(`${i + 1} changes; the last of 24 after ${Math.round(rounds.at(-1)!.lastMs)} ms`)
      }
      const each = rounds.flatMap((round) => [
        ...round.each,
        ...Array.from({ length: nodes - 1 - round.each.length }, () => Number.POSITIVE_INFINITY),
      ])
      return {
        raw: { rounds },
        rows: [
          atMost({ what: 'each receiver', values: each, unit: 'ms', most: { 0.5: 60, 0.99: 300 } }),
          atMost({
            what: 'the last of 24',
            values: rounds.map(({ lastMs }) => lastMs),
            unit: 'ms',
            most: { 0.5: 200, 0.99: 1_000 },
          }),
        ],
      }
    } finally {
      for (const end of ends) end()
      await swarm.close()
    }
  },
}

/** Returns the moment at which the request was sent. */
async function relabel({ client }: Machine, id: string, round: number): Promise<number> {
  const node = await client.get<{ readonly Version: { readonly Index: number }; readonly Spec: object }>(`/nodes/${id}`)
  const sentMs = performance.now()
  await client.post(
    `/nodes/${id}/update`,
    { ...node.Spec, Labels: { round: String(round) } },
    { version: node.Version.Index },
  )
  return sentMs
}
