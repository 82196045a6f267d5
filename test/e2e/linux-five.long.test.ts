/**
 * Five machines whose kernels forward, through everything that a cluster has to outlive; clients ask all the time. The tests take one after another from
 * the same cluster (five.ts), each leaves it whole. What takes longer is in linux-five.soak.ts.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { echoProgram, type RunningTask, runs, webProgram } from './clients.ts'
import { see } from './cluster.ts'
import { agentFlags, five } from './five.ts'
import { type Lan, type Machine, outsideAddress } from './machines.ts'

test('machines join by address in any order: through one that has not joined yet, and before the founder is there', async () => {
  const { machines, lose, serve } = await five()
  const [n1, n2, n3, n4, n5] = machines
  await n1.start(agent)
  const token = await n1.ok('vine token --quiet')
  await n1.ok('vine agent stop --keep-tasks')
  // Fourth knows third, third second, second the founder, and none of these is there.
  n4.launch(joining(n3, token))
  await until(() => n4.said().includes('Cannot join through'), { deadlineMs: 10_000, what: 'n4 to say why' })
  n3.launch(joining(n2, token))
  n2.launch(joining(n1, token))
  await n1.start(agent)
  await Promise.all([n2, n3, n4].map((machine) => machine.ready()))
  await see([n1, n2, n3, n4], [n1, n2, n3, n4])
  // The fifth comes later, through others.
  await lose(n5)
  await serve()
})

test('the founder is lost: the others go on, schedule, and let one more join; it comes back to them', async () => {
  const { machines, lose, known, whole } = await five()
  const [n1, n2, n3, n4, n5] = machines
  await lose(n1)
  await n1.killAll()
  await see([n2, n3, n4], [n2, n3, n4])
  await known()
  await n4.ok("vine service create --quiet --detach --name more --replicas 3 sh -c 'sleep 10000'")
  await n5.start(joining(n3, await n3.ok('vine token --quiet')))
  const others = [n2, n3, n4, n5]
  await see(others, others)
  await Promise.all([runs(others, 'web', 5), runs(others, 'more', 3)])
  await n1.start(agent)
  await see(machines, machines)
  expect(await whole()).toEqual([])
})

test('an agent is killed alone and started again: its tasks are untouched and adopted, and no client notices, through its machine either', async () => {
  const { machines, even, whole } = await five()
  const [n1, n2, n3, n4, n5] = machines
  const before = on(n3, await even())
  await n3.killAgent()
  const others = [n1, n2, n4, n5]
  await see(others, others)
  await runs(others, 'web', 5)
  expect(await whole()).toEqual([])
  await n3.start(agent)
  await see(machines, machines)
  expect(on(n3, await runs(machines, 'web', 5))).toEqual(before)
  expect(await whole()).toEqual([])
})

test('all agents are killed at once: open connections and new ones go on through the kernels, and every task is adopted', async () => {
  const { lan, machines, blind, even, whole } = await five()
  const [n1] = machines
  await n1.ok(`vine service create --detach --quiet --name echo --replicas 5 --publish 7000:7 node -e '${echo}'`)
  const before = [await even(), await runs(machines, 'echo', 5)]
  const say = await idleCallers(lan, machines)
  expect(await say()).toBe(everyCaller)
  await Promise.all(machines.map((machine) => machine.killAgent()))
  expect(await say()).toBe(everyCaller)
  expect(await whole()).toEqual([])
  // An agent that is up before the others takes them for dead: where no task is its own, its kernel refuses clients for that moment.
  blind()
  await Promise.all(machines.map((machine) => machine.start(agent)))
  await see(machines, machines)
  expect([await runs(machines, 'web', 5), await runs(machines, 'echo', 5)]).toEqual(before)
  expect(await say()).toBe(everyCaller)
  expect(await whole()).toEqual([])
})

test('power fails on a machine, and a cable is pulled: nobody is led there, the tasks run elsewhere, once each when all is back', async () => {
  const { machines, lose, known, whole, follow } = await five()
  const [n1, n2, n3, n4, n5] = machines
  await lose(n4, n5)
  await Promise.all([n5.powerOff(), n4.pull()])
  const left = [n1, n2, n3]
  await see(left, left)
  await known()
  await runs(left, 'web', 5)
  await n5.powerOn()
  follow(n5)
  await Promise.all([n5.start(agent), n4.plug()])
  await see(machines, machines)
  await runs(machines, 'web', 5)
  expect(await whole()).toEqual([])
})

test('one machine hears another no more, while all the rest do: nothing moves, and soon its clients are led around the gap', async () => {
  const { machines, part, even, streak, known, whole } = await five()
  const [n1, , , , n5] = machines
  const before = await even()
  await part([n1], [n5])
  await n1.ignore(n5)
  // Of as many at least one would meet the gap, were a fifth of them led there; and longer than from silence to death.
  await streak(n1, 50)
  await known()
  await streak(n1, 25)
  await see(machines, machines)
  expect(await runs(machines, 'web', 5)).toEqual(before)
  await n1.hear()
  expect(await whole()).toEqual([])
})

test('the network parts two and three: both sides serve and take orders; healed, counts are right again, and nothing is held twice', async () => {
  const { machines, part, even, known, whole } = await five()
  const [n1, n2, n3, n4, n5] = machines
  const [left, right] = [
    [n1, n2],
    [n3, n4, n5],
  ]
  // Each side has some: clients of one that has none are refused, as they should be.
  await even()
  await part(left, right)
  await Promise.all([
    ...left.map((machine) => machine.ignore(...right)),
    ...right.map((machine) => machine.ignore(...left)),
  ])
  await Promise.all([see(left, left), see(right, right)])
  await known()
  // Names, ports and subnets that both sides take.
  await Promise.all(
    [n1, n4].map((machine, i) =>
      machine.ok(`vine network create -d overlay --subnet 10.99.0.0/24 x${i} &&
        vine service create --quiet --detach --name same --publish 808${i}:80 ${web} &&
        vine service create --quiet --detach --name port${i} --network net --publish 9000:80 ${web}`),
    ),
  )
  await runs(right, 'web', 5)
  await Promise.all(machines.map((machine) => machine.hear()))
  await see(machines, machines)
  const verdicts = await until(
    async () => {
      const texts = await Promise.all(machines.map(async (machine) => (await machine.run('vine status')).out))
      return texts.every((text) => text === texts[0] && text.split('\n').length >= 4) ? texts[0] : Promise.reject(texts)
    },
    { deadlineMs: 15_000, everyMs: 200, what: 'all to tell the same conflicts' },
  )
  for (const taken of [/same/, /9000/, /10\.99\.0\.0\/24/]) expect(verdicts).toMatch(taken)
  const tasks = [...(await runs(machines, 'web', 5)), ...(await runs(machines, 'echo', 5))]
  const addresses = tasks.flatMap((task) => task.addresses)
  expect(new Set(addresses).size).toBe(addresses.length)
  const made = JSON.parse(`[${(await n3.ok("vine service ls --format '{{json .}}'")).replaceAll('\n', ',')}]`)
  const extra = made.filter(({ Name }: { readonly Name: string }) => /^(same|port)/.test(Name))
  expect(extra).toHaveLength(4)
  await n3.ok(
    `vine service rm ${extra.map(({ ID }: { readonly ID: string }) => ID).join(' ')} && vine network rm x0 x1`,
  )
  await until(async () => (await n3.run('vine status')).code === 0, { deadlineMs: 10_000, what: 'all to be well' })
  expect(await whole()).toEqual([])
})

test('the majority is lost at once: those who are left wait, then run everything, and take orders', async () => {
  const { machines, lose, known, whole } = await five()
  const [n1, n2, n3, n4, n5] = machines
  const [left, lost] = [
    [n1, n2],
    [n3, n4, n5],
  ]
  // So few tasks that one dose is enough.
  await n1.ok('vine service rm echo more')
  await lose(...lost)
  await Promise.all(lost.map((machine) => machine.killAll()))
  await see(left, left)
  await known()
  // A side with fewer than half of the nodes waits 10 s before it replaces, and then starts in doses.
  await n1.ok("vine service create --quiet --detach --name late --replicas 2 sh -c 'sleep 10000'")
  await Promise.all([runs(left, 'web', 5, 40_000), runs(left, 'late', 2, 40_000)])
  await Promise.all(lost.map((machine) => machine.start(agent)))
  await see(machines, machines)
  await Promise.all([runs(machines, 'web', 5), runs(machines, 'late', 2)])
  expect(await whole()).toEqual([])
})

test('everything is killed at once and started again: every service is back', async () => {
  const { lan, machines } = await five()
  await Promise.all(machines.map((machine) => machine.killAll()))
  await Promise.all(machines.map((machine) => machine.start(agent)))
  await see(machines, machines)
  await Promise.all([runs(machines, 'web', 5), runs(machines, 'late', 2)])
  for (const { address } of machines)
    await until(async () => (await lan.outside(`curl -sS -m 3 http://${address}:8000/`)).code === 0, {
      deadlineMs: 5_000,
      what: `an answer through ${address}`,
    })
  await until(async () => (await machines[0].run('vine status')).code === 0, {
    deadlineMs: 10_000,
    what: 'all to be well',
  })
})

/** Opens connections through each machine that say nothing. What it returns lets each say a word, and tells how many were answered. */
async function idleCallers(lan: Lan, machines: readonly Machine[]): Promise<() => Promise<string>> {
  const said: string[] = []
  const listen = `${outsideAddress}:9990`
  const places = machines.map(({ address }) => `${address}:7000`).join(' ')
  lan.begin(`${process.execPath} ${join(root, 'test/e2e/idle-callers.ts')} ${listen} ${callers} ${places}`, (line) =>
    said.push(line),
  )
  await until(() => said.includes('open'), { deadlineMs: 10_000, what: 'the connections to be open' })
  return async () => (await lan.outside(`curl -sS http://${listen}/`)).out
}

/** Idle connections through each machine; more in linux-five.soak.ts. */
const callers = Number(process.env.GRAPEVINE_CALLERS ?? 40)
const everyCaller = `${5 * callers} of ${5 * callers}`
const web = `node -e '${webProgram.replaceAll("'", '"')}'`
const echo = echoProgram.replaceAll("'", '"')
const agent = `vine agent ${agentFlags}`
const joining = (member: Machine, token: string) =>
  `env GRAPEVINE_TOKEN=${token} ${agent} --join ${member.address}:7766`
const on = ({ name }: Machine, tasks: readonly RunningTask[]) => tasks.filter(({ node }) => node === name)
