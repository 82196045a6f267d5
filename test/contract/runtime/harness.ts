// The process runtime over a folder of its own, for the contract and for unit tests: plans made of sh, and a check that nothing stays.
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { containerOptions } from '../../../agent/core/container.ts'
import { createClock } from '../../../agent/real.ts'
import { createProcessRuntime } from '../../../agent/runtime/process/runtime.ts'
import type { Log, TaskPlan } from '../../../agent/world.ts'
import { until } from '../../until.ts'
import type { Behaviour, RuntimeHarness } from './contract.ts'

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** An id made of a short name, so that failures can be read. */
export function taskId(name: string): string {
  return name.toLowerCase().padEnd(25, 'x')
}

/** Asks for nothing that only a container has. */
export const noContainer = containerOptions({ Name: 'web', TaskTemplate: { ContainerSpec: { Image: 'sh' } } })

/** A plan that runs `sh -c script`. */
export function shell(name: string, script: string, over: Partial<TaskPlan> = {}): TaskPlan {
  return {
    task: taskId(name),
    service: 'service',
    serviceName: 'web',
    slot: '1',
    name: `web.1.${taskId(name)}`,
    image: 'sh',
    command: [],
    args: ['-c', script],
    env: {},
    dir: undefined,
    user: undefined,
    hostname: 'host',
    labels: {},
    stop: { signal: 'SIGTERM', graceMs: 10_000 },
    attachment: { host: '127.0.0.1', ports: [], resolver: undefined, hostsFile: undefined },
    container: noContainer,
    ...over,
  }
}

function scriptOf(behaviour: Behaviour): string {
  switch (behaviour.does) {
    case 'run':
    case 'miss':
      return 'exec sleep 1000'
    case 'exit':
      return `echo first >&2; echo '${behaviour.lastError}' >&2; exit ${behaviour.code}`
    case 'ignore-stop':
      return 'trap "" TERM; echo ignoring; while :; do sleep 1000; done'
    case 'print':
      return `printf '%s\\n' ${behaviour.lines.join(' ')}; exec sleep 1000`
  }
}

export async function processHarness(): Promise<RuntimeHarness & { readonly dir: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'vine-runtime-'))
  const make = () =>
    createProcessRuntime({ dir, clock: createClock(), log: silent, path: '/usr/local/bin:/usr/bin:/bin' })
  const runtime = make()
  const runtimes = [runtime]
  return {
    dir,
    runtime,
    plan: (task, behaviour) =>
      shell(task, scriptOf(behaviour), behaviour.does === 'miss' ? { image: 'no-such-program:1.2' } : {}),
    command: (code) => ['sh', '-c', `exit ${code}`],
    async restart() {
      // What the kernel does to an agent that dies: its timers and watches go, nothing is written.
      await runtimes.at(-1)?.close()
      runtimes.push(make())
      return runtimes.at(-1)!
    },
    kill: (task) => void process.kill(task.pid!, 'SIGKILL'),
    until: async (condition, what) => void (await until(condition, { deadlineMs: 5_000, what })),
    async dispose() {
      const last = runtimes.at(-1)!
      for (const { task, running } of await last.list()) {
        if (running) await last.stop(task, { signal: 'SIGKILL', graceMs: 0 })
      }
      for (const each of runtimes) await each.close()
      await until(() => shimsOf(dir).length === 0, { deadlineMs: 5_000, what: 'no shim to be left' })
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Processes that live in a task's folder: shims. */
export function shimsOf(dir: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(dir)
      } catch {
        // It ended while we looked, or is a zombie.
        return false
      }
    })
}
