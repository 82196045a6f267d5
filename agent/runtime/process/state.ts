/**
 * What the process runtime keeps on disk, so that a restarted agent finds its tasks again.
 *
 *   tasks/<id>/task.json   the plan, 0600 since its environment may hold secrets; how it was started
 *   tasks/<id>/pid         written by the shim: pid, start time, shim, boot id
 *   tasks/<id>/run         what the shim reads (script.ts)
 *   tasks/<id>/stdout, stderr, log, log.1, cursor   (collect.ts)
 *   tasks/<id>/ended.json  how it ended, once the agent has seen it
 *   exits/<id>             written by the shim: the exit status. One folder for all, so that one watch sees every end
 *   passing/<id>/          a task's folder while it is filled or emptied, so that an agent that is killed amid it leaves no half of a task
 *   aside/                 what could not be read; kept for people, never read again
 *
 * What the shim writes exists at full size before the program starts; a full disk therefore fails the start, and loses no end.
 */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { isId } from '../../../protocol/ids.ts'
import type { Exit, TaskPlan } from '../../world.ts'
import { CURSOR_BYTES } from './collect.ts'
import { parseRunning, type Running } from './proc.ts'

/** A task as it was started. */
export interface Kept {
  readonly plan: TaskPlan
  readonly privacy: 'root' | 'user' | 'none'
  /** Complete environment and directory, for health commands. */
  readonly env: Readonly<Record<string, string>>
  readonly dir: string
  /** Words that make another program run as the task's user. */
  readonly userPrefix: readonly string[]
  readonly boot: string
}

/** What was found for one id. `running` is there also when the task could not be read, so that it can be ended. */
export interface Found {
  readonly id: string
  readonly kept: Kept | undefined
  readonly running: Running | undefined
  readonly ended: Exit | undefined
}

export interface StateDir {
  readonly exits: string
  taskDir(id: string): string
  exitFile(id: string): string
  /** Makes all files of a new task. On an error nothing is left. `owner` may open its own output files anew (`/dev/stdout`). */
  create(kept: Kept, run: string, owner: { readonly uid: number; readonly gid: number }): void
  readRunning(id: string): Running | undefined
  /** The status that the shim wrote and when, or undefined. */
  readExit(id: string): { readonly status: number; readonly atMs: number } | undefined
  writeEnded(id: string, exit: Exit): void
  /** All tasks, by id. */
  scan(): readonly Found[]
  setAside(id: string): string
  remove(id: string): void
}

export function openStateDir(root: string): StateDir {
  const tasks = join(root, 'tasks')
  const exits = join(root, 'exits')
  const passing = join(root, 'passing')
  const aside = join(root, 'aside')
  rmSync(passing, { recursive: true, force: true })
  for (const folder of [root, tasks, exits, passing]) mkdirSync(folder, { recursive: true, mode: 0o700 })
  const taskDir = (id: string) => join(tasks, id)
  const exitFile = (id: string) => join(exits, id)

  function remove(id: string): void {
    const gone = join(passing, id)
    rmSync(gone, { recursive: true, force: true })
    if (existsSync(taskDir(id))) renameSync(taskDir(id), gone)
    rmSync(gone, { recursive: true, force: true })
    rmSync(exitFile(id), { force: true })
  }

  return {
    exits,
    taskDir,
    exitFile,
    create(kept, run, owner) {
      const id = kept.plan.task
      remove(id)
      try {
        const begun = join(passing, id)
        mkdirSync(begun, { mode: 0o700 })
        const write = (file: string, text: string) => writeFileSync(file, text, { mode: 0o600 })
        write(join(begun, 'task.json'), toText(kept))
        write(join(begun, 'run'), run)
        write(join(begun, 'cursor'), ' '.repeat(CURSOR_BYTES))
        write(join(begun, 'pid'), blank)
        write(exitFile(id), blank)
        for (const stream of ['stdout', 'stderr']) {
          write(join(begun, stream), '')
          chownSync(join(begun, stream), owner.uid, owner.gid)
        }
        renameSync(begun, taskDir(id))
      } catch (error) {
        remove(id)
        throw error
      }
    },
    readRunning: (id) => parseRunning(readText(join(taskDir(id), 'pid')) ?? ''),
    readExit(id) {
      const found = /^(\d{1,3})\n/.exec(readText(exitFile(id)) ?? '')
      if (found === null) return undefined
      return { status: Number(found[1]), atMs: Math.floor(statSync(exitFile(id)).mtimeMs) }
    },
    writeEnded(id, exit) {
      const file = join(taskDir(id), 'ended.json')
      writeFileSync(`${file}.new`, toText(exit), { mode: 0o600 })
      renameSync(`${file}.new`, file)
    },
    scan() {
      const ids = readdirSync(tasks).sort()
      for (const id of readdirSync(exits)) if (!ids.includes(id)) rmSync(exitFile(id), { recursive: true, force: true })
      return ids.map((id) => {
        const kept = read(join(taskDir(id), 'task.json'), keptSchema) as Kept | undefined
        return {
          id,
          kept: kept?.plan.task === id && isId(id) ? kept : undefined,
          running: parseRunning(readText(join(taskDir(id), 'pid')) ?? ''),
          ended: read(join(taskDir(id), 'ended.json'), exitSchema) as Exit | undefined,
        }
      })
    },
    setAside(id) {
      mkdirSync(aside, { recursive: true, mode: 0o700 })
      const taken = readdirSync(aside).length
      const target = join(aside, `${id}.${taken}`)
      rmSync(target, { recursive: true, force: true })
      renameSync(taskDir(id), target)
      rmSync(exitFile(id), { recursive: true, force: true })
      return target
    },
    remove,
  }
}

/** Room for the longest line of a shim. */
const blank = `${' '.repeat(127)}\n`

/** JSON has no undefined; a field that is undefined here is null there, so that what is read back equals what was written. */
function toText(value: Kept | Exit): string {
  return JSON.stringify(value, (_, field: unknown) => (field === undefined ? null : field))
}

function orUndefined<T>(schema: z.ZodType<T>) {
  return schema.nullish().transform((value) => value ?? undefined)
}

const texts = z.array(z.string())
const table = z.record(z.string(), z.string())

const keptSchema = z.object({
  plan: z.looseObject({
    task: z.string(),
    service: z.string(),
    serviceName: z.string(),
    slot: z.string(),
    name: z.string(),
    image: z.string(),
    command: texts,
    args: texts,
    env: table,
    dir: orUndefined(z.string()),
    user: orUndefined(z.string()),
    hostname: z.string(),
    labels: table,
    stop: z.object({ signal: orUndefined(z.string()), graceMs: z.number() }),
    attachment: z.looseObject({
      host: z.string(),
      listen: orUndefined(z.string()),
      ports: z.array(z.object({ protocol: z.enum(['tcp', 'udp', 'sctp']), target: z.number(), actual: z.number() })),
      resolver: orUndefined(z.string()),
      hostsFile: orUndefined(z.string()),
      netns: orUndefined(z.string()),
      resolvFile: orUndefined(z.string()),
    }),
  }),
  privacy: z.enum(['root', 'user', 'none']),
  env: table,
  dir: z.string(),
  userPrefix: texts,
  boot: z.string(),
})

const exitSchema = z.object({
  code: orUndefined(z.number()),
  signal: orUndefined(z.string()),
  lastLine: z.string(),
  atMs: z.number(),
})

/** A file that does not exist, is no JSON or has another form is undefined alike: the caller sets it aside. */
function read(file: string, schema: z.ZodType): unknown {
  try {
    return schema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return undefined
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
