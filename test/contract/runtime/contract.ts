// What every Runtime promises, whatever runs the tasks: real processes, containers, or the simulator's. A suite is made for one implementation
// by a harness that turns a behaviour into a plan, so that no promise here names a program.
import { afterEach, describe, expect, test } from 'vitest'
import { Fault } from '../../../agent/fault.ts'
import type { Exit, LogLine, LogQuery, ObservedTask, Runtime, TaskPlan } from '../../../agent/world.ts'

/** What a task of the suite does. */
export type Behaviour =
  | { readonly does: 'run' }
  | { readonly does: 'exit'; readonly code: number; readonly lastError: string }
  | { readonly does: 'ignore-stop' }
  /** Prints, then runs on. */
  | { readonly does: 'print'; readonly lines: readonly string[] }
  /** Its program is not on this node. */
  | { readonly does: 'miss' }

export interface RuntimeHarness {
  readonly runtime: Runtime
  /** What is missing may be fetched at the start: nothing is told before. */
  readonly fetches?: boolean
  plan(task: string, behaviour: Behaviour): TaskPlan
  /** A command that ends with this code in any task's surroundings. */
  command(code: number): readonly string[]
  /** The agent alone dies and comes back: a new runtime over the same tasks. */
  restart(): Promise<Runtime>
  /** The task dies without the runtime's doing. */
  kill(task: ObservedTask): void
  /** Waits, on whatever time the runtime lives. */
  until(condition: () => boolean | Promise<boolean>, what: string): Promise<void>
  dispose(): Promise<void>
}

export function runtimeContract(name: string, make: () => Promise<RuntimeHarness>): void {
  describe(`the ${name} runtime`, () => {
    let harness: RuntimeHarness | undefined
    afterEach(async () => {
      await harness?.dispose()
      harness = undefined
    })
    const begin = async () => {
      harness = await make()
      const exits = new Map<string, Exit>()
      harness.runtime.onExit((task, exit) => exits.set(task, exit))
      return { harness, runtime: harness.runtime, exits }
    }
    const run: Behaviour = { does: 'run' }

    test('a started task is listed as running, with its service, slot and attachment', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', run)
      const { pid } = await runtime.start(plan)
      const { task, service, slot, attachment } = plan
      expect(await runtime.list()).toMatchObject([
        { task, service, slot, attachment, pid, running: true, exit: undefined },
      ])
    })

    test('a task that ends by itself is reported once, with its code and the last line of its stderr', async () => {
      const { harness, runtime } = await begin()
      const seen: Exit[] = []
      runtime.onExit((_, exit) => seen.push(exit))
      const plan = harness.plan('one', { does: 'exit', code: 7, lastError: 'cannot read config' })
      await runtime.start(plan)
      await harness.until(() => seen.length > 0, 'the end of the task')
      expect(seen).toMatchObject([{ code: 7, signal: undefined, lastLine: 'cannot read config' }])
      expect(await runtime.list()).toMatchObject([{ task: plan.task, running: false, pid: undefined, exit: seen[0] }])
    })

    test('a task that was killed from outside is reported with its signal', async () => {
      const { harness, runtime, exits } = await begin()
      const plan = harness.plan('one', run)
      await runtime.start(plan)
      const [task] = await runtime.list()
      harness.kill(task!)
      await harness.until(() => exits.has(plan.task), 'the end of the task')
      expect(exits.get(plan.task)).toMatchObject({ code: 137, signal: 'SIGKILL' })
    })

    test('stop() resolves when the task has ended, and has told so before', async () => {
      const { harness, runtime, exits } = await begin()
      const plan = harness.plan('one', run)
      await runtime.start(plan)
      await runtime.stop(plan.task, { signal: 'SIGTERM', graceMs: 10_000 })
      expect(exits.get(plan.task)).toMatchObject({ code: 143, signal: 'SIGTERM' })
      expect(await runtime.list()).toMatchObject([{ running: false }])
    })

    test('a task that ignores its stop signal is killed after its grace', async () => {
      const { harness, runtime, exits } = await begin()
      const plan = harness.plan('one', { does: 'ignore-stop' })
      await runtime.start(plan)
      await harness.until(async () => (await lines(runtime, plan.task, {})).length > 0, 'the task to ignore')
      await runtime.stop(plan.task, { signal: 'SIGTERM', graceMs: 100 })
      expect(exits.get(plan.task)).toMatchObject({ code: 137, signal: 'SIGKILL' })
    })

    test('stop() of an unknown, an ended or a stopping task is harmless', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', run)
      const how = { signal: 'SIGTERM', graceMs: 5_000 }
      await runtime.stop('nobody', how)
      await runtime.start(plan)
      await Promise.all([runtime.stop(plan.task, how), runtime.stop(plan.task, how)])
      await runtime.stop(plan.task, how)
    })

    test('stop() during a start leaves no task running', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', run)
      const starting = runtime.start(plan)
      await runtime.stop(plan.task, { signal: 'SIGTERM', graceMs: 5_000 })
      await starting
      expect(await runtime.list()).toMatchObject([{ running: false }])
    })

    test('a missing program is told before and at the start, and leaves nothing', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', { does: 'miss' })
      expect(await runtime.missing(plan.image)).toEqual(harness.fetches ? undefined : expect.stringMatching(/./))
      expect(await runtime.missing(harness.plan('two', run).image)).toBeUndefined()
      const refused = await runtime.start(plan).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(Fault)
      expect(refused).toMatchObject({ code: 'program-missing' })
      expect(await runtime.list()).toEqual([])
    })

    test('an agent alone that dies finds its tasks again, untouched, with the same pids', async () => {
      const { harness, runtime } = await begin()
      for (const name of ['one', 'two']) await runtime.start(harness.plan(name, run))
      const before = await runtime.list()
      const again = await harness.restart()
      expect(await again.list()).toEqual(before)
    })

    test('an adopted task is stopped and reported as any other', async () => {
      const { harness, runtime } = await begin()
      const [one, two] = [harness.plan('one', run), harness.plan('two', run)]
      for (const plan of [one, two]) await runtime.start(plan)
      const again = await harness.restart()
      expect((await again.list()).map(({ stop }) => stop)).toEqual([one.stop, two.stop])
      const exits = new Map<string, Exit>()
      again.onExit((task, exit) => exits.set(task, exit))
      harness.kill((await again.list()).find((task) => task.task === two.task)!)
      await again.stop(one.task, { signal: 'SIGTERM', graceMs: 5_000 })
      await harness.until(() => exits.size === 2, 'both ends')
      expect(exits.get(one.task)).toMatchObject({ code: 143 })
      expect(exits.get(two.task)).toMatchObject({ code: 137 })
    })

    test('how an ended task ended is still known after a restart of the agent', async () => {
      const { harness, runtime, exits } = await begin()
      const plan = harness.plan('one', { does: 'exit', code: 3, lastError: 'out of luck' })
      await runtime.start(plan)
      await harness.until(() => exits.size === 1, 'the end of the task')
      const again = await harness.restart()
      expect(await again.list()).toMatchObject([{ running: false, exit: exits.get(plan.task) }])
    })

    test('remove() forgets an ended task for good, and refuses one that runs', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', run)
      await runtime.start(plan)
      await expect(runtime.remove(plan.task)).rejects.toMatchObject({ code: 'conflict' })
      await runtime.stop(plan.task, { signal: 'SIGKILL', graceMs: 0 })
      await runtime.remove(plan.task)
      await runtime.remove(plan.task)
      expect(await runtime.list()).toEqual([])
      expect(await (await harness.restart()).list()).toEqual([])
    })

    test('a health command answers with its code', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', run)
      await runtime.start(plan)
      for (const code of [0, 4]) {
        expect(await runtime.exec(plan.task, harness.command(code), 5_000)).toMatchObject({ code })
      }
      await expect(runtime.exec('nobody', harness.command(0), 5_000)).rejects.toMatchObject({ code: 'not-found' })
    })

    test('logs() gives all lines in order, or the last ones, with times', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', { does: 'print', lines: ['a', 'b', 'c'] })
      await runtime.start(plan)
      await harness.until(async () => (await lines(runtime, plan.task, {})).length === 3, 'three lines')
      const all = await lines(runtime, plan.task, {})
      expect(all.map((line) => [line.task, line.stream, line.text])).toEqual([
        [plan.task, 'stdout', 'a'],
        [plan.task, 'stdout', 'b'],
        [plan.task, 'stdout', 'c'],
      ])
      expect(await lines(runtime, plan.task, { tail: 2 })).toEqual(all.slice(1))
      expect(await lines(runtime, plan.task, { sinceMs: all[2]!.atMs + 1 })).toEqual([])
    })

    test('logs() that follow end with the task, or when the caller has enough', async () => {
      const { harness, runtime } = await begin()
      const plan = harness.plan('one', { does: 'print', lines: ['a'] })
      await runtime.start(plan)
      const enough = new AbortController()
      const heard: LogLine[] = []
      const cut = lines(runtime, plan.task, { follow: true, signal: enough.signal }, heard)
      const whole = lines(runtime, plan.task, { follow: true })
      await harness.until(() => heard.length === 1, 'the line')
      enough.abort()
      expect(await cut).toMatchObject([{ text: 'a' }])
      await runtime.stop(plan.task, { signal: 'SIGTERM', graceMs: 5_000 })
      expect(await whole).toMatchObject([{ text: 'a' }])
    })
  })
}

/** `found`: where they are as they come. */
async function lines(
  runtime: Runtime,
  task: string,
  query: Partial<LogQuery>,
  found: LogLine[] = [],
): Promise<readonly LogLine[]> {
  const signal = query.signal ?? new AbortController().signal
  const whole = { follow: false, tail: undefined, sinceMs: undefined, ...query, signal }
  for await (const line of runtime.logs(task, whole)) found.push(line)
  return found
}
