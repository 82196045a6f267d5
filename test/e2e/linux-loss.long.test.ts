/** The linux data plane when things end: agents that are killed, machines and cables that fail; and beside nodes that forward in user space. */
import { expect, test } from 'vitest'
import { until } from '../until.ts'
import { runs } from './clients.ts'
import { see } from './cluster.ts'
import type { Lan, Machine } from './machines.ts'
import { linuxCluster, taskOf, tellsClient } from './overlay.ts'

test('an agent that is killed leaves its tasks reachable by the kernel; the next adopts them, and what ended meanwhile leaves nothing', async () => {
  const [lan, n1, n2, n3] = await linuxCluster()
  await n1.ok('vine network create -d overlay net')
  await n1.ok(
    `vine service create --detach --quiet --name web --network net --publish 8000:80 --replicas 3 --replicas-max-per-node 1 ${tellsClient}`,
  )
  await n1.ok(
    `vine service create --detach --quiet --name short --network net --constraint node.hostname==n2 sh -c 'sleep 1000'`,
  )
  const before = await runs([n1, n2, n3], 'web', 3)
  const short = await taskOf(n2, 'short')
  await n2.ok('kill -KILL $(pgrep -f "[a]gent/main.ts agent")')
  expect((await n2.run('vine doctor --clean')).out).toMatch(/tasks run without an agent/)
  // Its own agent is gone and its endpoint with it, yet the others' answers come through its kernel.
  await asked(lan, n2, (answers) => answers.has('n1') && answers.has('n3'))
  await n2.ok(`kill -KILL ${short.pid}`)
  await n2.start('vine agent --dataplane linux')
  await see([n1, n2, n3], [n1, n2, n3])
  const after = await runs([n1, n2, n3], 'web', 3)
  expect(after.filter(({ id }) => before.some((task) => task.id === id)).length).toBeGreaterThanOrEqual(2)
  await asked(lan, n3, (answers) => answers.size === 3)
  await until(async () => namespaces(n2, await tasksOn(n2)), {
    deadlineMs: 10_000,
    what: 'a namespace for each task of n2',
  })
})

test('what is left in the kernel when an agent and its tasks are killed is listed by vine doctor, and removed when asked', async () => {
  const [, n1] = await linuxCluster()
  await n1.ok(`vine service create --detach --quiet --name web --mode global --publish 8000:80 ${tellsClient}`)
  const { pid } = await taskOf(n1, 'web')
  expect((await n1.ok('vine doctor')).match(/^leftovers: ok/m)).not.toBeNull()
  await n1.ok(`kill -KILL $(pgrep -f "[a]gent/main.ts agent") && kill -KILL ${pid}`)
  await until(async () => (await n1.run('vine doctor')).out.includes('device vb'), {
    deadlineMs: 5_000,
    what: 'the leftovers to be listed',
  })
  expect((await n1.run('vine doctor --clean')).out).toMatch(/^leftovers: ok/m)
  const inKernel =
    'ip -o link show type bridge; ip -o link show type vxlan; ip -o link show type veth | grep vt; ip netns; nft list tables'
  expect((await n1.run(`${inKernel}; ip rule | grep -c .`)).out).toBe('3\n')
})

test('power fails on a machine: within a second or two nobody is sent there, and its tasks run elsewhere', async () => {
  const [lan, n1, n2, n3] = await linuxCluster()
  await n1.ok(`vine service create --detach --quiet --name web --replicas 3 --publish 8000:80 ${tellsClient}`)
  await runs([n1, n2, n3], 'web', 3)
  await asked(lan, n1, (answers) => answers.size === 3)
  await n3.powerOff()
  await until(
    async () => {
      const seen = await runs([n1, n2], 'web', 3, 500)
      return seen.every(({ node }) => node !== 'n3')
    },
    { deadlineMs: 15_000, what: 'the task of n3 to run elsewhere' },
  )
  // Every connection of a hundred, by kernels that have forgotten the lost machine.
  const said = await lan.outside(
    `for i in $(seq 50); do for n in ${n1.address} ${n2.address}; do curl -sS -m 2 http://$n:8000/ || echo failed; echo; done; done`,
  )
  expect(said.out).not.toMatch(/failed|n3/)
})

test('a cable is pulled and plugged in again: tasks reach each other again by virtual IP and by address', async () => {
  const [, n1, n2, n3] = await linuxCluster()
  await n1.ok('vine network create -d overlay net')
  await n1.ok(
    `vine service create --detach --quiet --name web --network net --replicas 3 --replicas-max-per-node 1 ${tellsClient}`,
  )
  await n1.ok("vine service create --detach --quiet --name client --network net --mode global sh -c 'sleep 1000'")
  await runs([n1, n2, n3], 'web', 3)
  const client = await taskOf(n3, 'client')
  await meets(client, ['n1', 'n2', 'n3'])
  await n3.pull()
  // On its side the cut machine serves itself.
  await meets(client, ['n3'], 20_000)
  await n3.plug()
  await see([n1, n2, n3], [n1, n2, n3], 30_000)
  await meets(await taskOf(n3, 'client'), ['n1', 'n2', 'n3'], 15_000)
})

test('nodes with and without the linux data plane reach each other: by name, by virtual IP, by published port', async () => {
  const [lan, n1, n2, n3] = await linuxCluster({ userspace: ['n2'] })
  await n1.ok('vine network create -d overlay net')
  await n1.ok(
    `vine service create --detach --quiet --name web --network net --publish 8000:80 --replicas 3 --replicas-max-per-node 1 ${tellsClient}`,
  )
  await n1.ok("vine service create --detach --quiet --name client --network net --mode global sh -c 'sleep 1000'")
  await runs([n1, n2, n3], 'web', 3)
  for (const machine of [n1, n2, n3]) await asked(lan, machine, (answers) => answers.size === 3)
  for (const machine of [n1, n3]) await meets(await taskOf(machine, 'client'), ['n1', 'n2', 'n3'])
  const client = await taskOf(n2, 'client')
  const seen = new Set<string>()
  await until(
    async () => {
      seen.add((await client.ok('curl -sS -m 3 http://web/')).slice(0, 2))
      return seen.size === 3 || Promise.reject(new Error([...seen].join()))
    },
    { deadlineMs: 15_000, everyMs: 10, what: 'a task in user space to have met all' },
  )
  expect(await n2.ok('vine node inspect n1 --pretty')).toMatch(/^Data Plane:\s+linux$/m)
})

/** Asks port 8000 of a machine from outside, each time by a new connection, until those that answered are enough. */
async function asked(lan: Lan, machine: Machine, enough: (answers: ReadonlySet<string>) => boolean): Promise<void> {
  const answers = new Set<string>()
  await until(
    async () => {
      const { out } = await lan.outside(`curl -sS -m 3 http://${machine.address}:8000/`)
      if (out !== '') answers.add(out.slice(0, 2))
      return enough(answers) || Promise.reject(new Error([...answers].join()))
    },
    { deadlineMs: 15_000, everyMs: 10, what: `answers through ${machine.name}` },
  )
}

/** Asks `web` from a task until exactly these nodes have answered ten times in a row without a failure. */
async function meets(client: Awaited<ReturnType<typeof taskOf>>, nodes: readonly string[], deadlineMs = 15_000) {
  await until(
    async () => {
      const { out, err } = await client.run(
        'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do curl -sS -m 2 http://web/; echo; done',
      )
      const met = [...new Set(out.split('\n').flatMap((line) => (line === '' ? [] : [line.slice(0, 2)])))].sort()
      return (err === '' && met.join() === nodes.join()) || Promise.reject(new Error(`${met.join()} ${err}`))
    },
    { deadlineMs, everyMs: 100, what: `a task to meet ${nodes.join()}` },
  )
}

async function tasksOn(machine: Machine): Promise<number> {
  return Number(await machine.ok(`vine node ps self --filter desired-state=running -q | wc -l`))
}

async function namespaces(machine: Machine, count: number): Promise<boolean> {
  const found = Number(await machine.ok('ip netns | wc -l'))
  return found === count || Promise.reject(new Error(`${found} namespaces for ${count} tasks`))
}
