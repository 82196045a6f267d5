/**
 * How soon a lost machine's endpoint is out of the kernels of all others: five machines, a task on each, seen by `nft monitor` beside the agents.
 *
 * Killed: SIGKILL to the agent and everything else that runs there, the kernel stays. Power: the machine is gone at once, without a word. The slowest
 * survivor counts. Each comes back before the next is lost.
 */
import { runningTasks } from '../../e2e/clients.ts'
import type { Machine } from '../../e2e/machines.ts'
import { until } from '../../until.ts'
import { atMost, type Figure, told } from '../figure.ts'
import { KernelWatch } from './kernel-watch.ts'
import { agentFlags, inLab, startAgents } from './lab.ts'

const count = 5
const losses = 20

interface Loss {
  readonly lost: string
  /** By name of the survivor. */
  readonly outMs: Readonly<Record<string, number>>
}

export const linuxKill = failover('linux-kill', 'SIGKILL to all that runs on a machine', async (machine) => {
  // All but the first process, which stands for the kernel, and the shell that says so.
  await machine.run('kill -KILL -1')
})
export const linuxPower = failover('linux-power', 'A machine loses its power', (machine) => machine.powerOff())

function failover(name: string, title: string, lose: (machine: Machine) => Promise<void>): Figure {
  return {
    name,
    title: `${title}, 5 machines, ${losses} times (slowest survivor of each)`,
    tools: ['nft', 'busybox'],
    measure: (say) =>
      inLab(async (lab) => {
        const machines = await startAgents(lab, count)
        await machines[0].ok(
          'vine service create --quiet --name web --mode global --publish 8000:80 busybox httpd -f -p 80 -h /run',
        )
        const watches = new Map<string, KernelWatch>()
        for (const machine of machines) watches.set(machine.name, await KernelWatch.open(machine))
        const raw: Loss[] = []
        for (let round = 0; round < losses; round++) {
          await until(
            async () =>
              (await Promise.all([...watches.values()].map((one) => one.size()))).every((size) => size === count),
            {
              deadlineMs: 40_000,
              everyMs: 100,
              what: `${count} endpoints in every kernel`,
            },
          )
          const victim = machines[round % count]!
          const survivors = machines.filter((machine) => machine !== victim)
          raw.push(await measureLoss({ victim, survivors, watches, lose }))
          say(`${victim.name}: ${told(Math.max(...Object.values(raw.at(-1)!.outMs)))} ms`)
          if (name === 'linux-power') await victim.powerOn()
          await victim.start(`vine agent ${agentFlags}`)
          watches.set(victim.name, await KernelWatch.open(victim))
        }
        const values = raw.map(({ outMs }) => Math.max(...Object.values(outMs)))
        return { raw, rows: [atMost({ what: 'out of every kernel', values, unit: 'ms', most: { 0.95: 800 } })] }
      }),
  }
}

interface Planned {
  readonly victim: Machine
  readonly survivors: readonly Machine[]
  readonly watches: ReadonlyMap<string, KernelWatch>
  lose(machine: Machine): Promise<void>
}

async function measureLoss({ victim, survivors, watches, lose }: Planned): Promise<Loss> {
  const tasks = await runningTasks(survivors[0]!, 'web')
  const addresses = tasks.find(({ node }) => node === victim.name)!.addresses.map((address) => address.split('/')[0]!)
  const watched = survivors.map(({ name }) => [name, watches.get(name)!.without(addresses)] as const)
  const atMs = performance.now()
  const losing = lose(victim)
  const outMs: Record<string, number> = {}
  for (const [name, out] of watched) outMs[name] = (await out) - atMs
  await losing
  return { lost: victim.name, outMs }
}
