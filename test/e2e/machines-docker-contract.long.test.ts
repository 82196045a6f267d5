/** The docker runtime keeps what every runtime promises, over a real engine. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClock } from '../../agent/real.ts'
import { openEngine } from '../../agent/runtime/docker/engine.ts'
import { createDockerRuntime } from '../../agent/runtime/docker/runtime.ts'
import type { Runtime } from '../../agent/world.ts'
import { type Behaviour, type RuntimeHarness, runtimeContract } from '../contract/runtime/contract.ts'
import { shell, silent } from '../contract/runtime/harness.ts'
import { until } from '../until.ts'
import { startEngine, type TestEngine } from './engines.ts'
import { type Lan, type Machine, openLan } from './machines.ts'

let lan: Lan
let machine: Machine
let engine: TestEngine
beforeAll(async () => {
  lan = await openLan()
  machine = await lan.add()
  engine = await startEngine(machine)
}, 60_000)
afterAll(() => lan.close())

/** Programs that are the first of their container end at signals that they ask for only. */
function scriptOf(behaviour: Behaviour): string {
  const forever = `trap 'exit 143' TERM; while :; do sleep 1000 & wait $!; done`
  switch (behaviour.does) {
    case 'run':
    case 'miss':
      return forever
    case 'exit':
      return `echo first >&2; echo '${behaviour.lastError}' >&2; exit ${behaviour.code}`
    case 'ignore-stop':
      return 'trap "" TERM; echo ignoring; while :; do sleep 1000; done'
    case 'print':
      return `printf '%s\\n' ${behaviour.lines.join(' ')}; ${forever}`
  }
}

runtimeContract('docker', async (): Promise<RuntimeHarness> => {
  const socketPath = `${machine.root}/run/docker.sock`
  const node = randomBytes(8).toString('hex')
  const make = async () =>
    inSandbox(
      createDockerRuntime({
        ...{ engine: await openEngine(socketPath), socketPath, node, network: 'bridge', logins: '/none' },
        ...{ clock: createClock(), log: silent },
      }),
    )
  const runtimes = [await make()]
  return {
    runtime: runtimes[0]!,
    fetches: true,
    plan: (task, behaviour) =>
      shell(task, scriptOf(behaviour), {
        name: `${task}.${node}`,
        command: ['sh'],
        image: behaviour.does === 'miss' ? 'localhost:1/no-such-image:1' : 'box:1',
      }),
    command: (code) => ['sh', '-c', `exit ${code}`],
    async restart() {
      await runtimes.at(-1)?.close()
      runtimes.push(await make())
      return runtimes.at(-1)!
    },
    kill: ({ task }) => void kill(node, task),
    until: async (condition, what) => void (await until(condition, { deadlineMs: 10_000, what })),
    async dispose() {
      for (const each of runtimes) await each.close()
      const left = await engine.docker.listContainers({ all: true, filters: { label: [`grapevine.node=${node}`] } })
      for (const { Id } of left) {
        // What is on its way out already is refused.
        await engine.docker
          .getContainer(Id)
          .remove({ force: true })
          .catch(() => {})
      }
    },
  }
})

/** As the loop does: first the sandbox, which a data plane would furnish. */
function inSandbox(runtime: Runtime): Runtime {
  const begun = new Map<string, Promise<unknown>>()
  return {
    ...runtime,
    async start(plan) {
      const made = runtime.sandbox?.(plan, { tell: () => {}, isWanted: () => true })
      const starting = Promise.resolve(made).then(() => runtime.start(plan))
      begun.set(
        plan.task,
        starting.catch(() => {}),
      )
      return await starting
    },
    async stop(task, how) {
      await begun.get(task)
      await runtime.stop(task, how)
    },
  }
}

async function kill(node: string, task: string): Promise<void> {
  const label = [`grapevine.node=${node}`, `grapevine.task=${task}`, 'grapevine.role=task']
  for (const { Id } of await engine.docker.listContainers({ filters: { label } }))
    await engine.docker.getContainer(Id).kill()
}

test("another's container of the same name is left alone, and Docker's word on it is told", async () => {
  const socketPath = `${machine.root}/run/docker.sock`
  const options = {
    socketPath,
    node: 'clash',
    network: 'bridge',
    logins: '/none',
    clock: createClock(),
    log: silent,
  } as const
  const runtime = inSandbox(createDockerRuntime({ ...options, engine: await openEngine(socketPath) }))
  const plan = shell('clash', 'sleep 1000', { command: ['sh'], image: 'box:1' })
  const foreign = await engine.docker.createContainer({ name: plan.name, Image: 'box:1', Cmd: ['sleep', '1'] })
  await expect(runtime.start(plan)).rejects.toThrow(/Conflict. The container name .* is already in use/)
  await runtime.remove(plan.task)
  expect(await engine.containers()).toEqual([plan.name])
  await foreign.remove()
  await runtime.close()
})

test('an engine that hangs is told after a bounded time, and all is well when it goes on', async () => {
  const socketPath = `${machine.root}/run/docker.sock`
  const options = {
    socketPath,
    node: 'hung',
    network: 'bridge',
    logins: '/none',
    clock: createClock(),
    log: silent,
  } as const
  const runtime = inSandbox(createDockerRuntime({ ...options, engine: await openEngine(socketPath) }))
  const plan = shell('hung', 'sleep 1000', { command: ['sh'], image: 'box:1' })
  await runtime.start(plan)
  await engine.hang()
  try {
    await expect(openEngine(socketPath)).rejects.toThrow(/did not answer within 5 s/)
  } finally {
    await engine.goOn()
  }
  await runtime.stop(plan.task, { signal: 'SIGKILL', graceMs: 1_000 })
  await runtime.remove(plan.task)
  expect(await engine.containers()).toEqual([])
  await runtime.close()
}, 30_000)
