/**
 * Has the image of a task here before it starts: fetched from its registry with progress, or the one that is here.
 *
 * A registry is asked when the image is not here, and for `latest`, which changes. Where it does not answer, the image that is here will do.
 */
import { Readable } from 'node:stream'
import type { ImageInspectInfo, ImageInspectOptions } from 'dockerode'
import { z } from 'zod'
import { fault, reasonOf } from '../../fault.ts'
import type { Clock, Log, Preparing } from '../../world.ts'
import { askMs, bounded, type Engine, makeMs, refused } from './engine.ts'
import { jsonLines } from './lines.ts'
import { type Login, registryOf } from './login.ts'
import { type Found, findLogin } from './logins.ts'
import { archiveOf, pauseImage, pauseProgram } from './pause.ts'

/** 60 s without a word of progress: a registry that stopped in the middle. */
const silenceMs = 60_000
/** 10 s for a newer `latest` of what is here: a start does not wait longer for a registry that is not reached. */
const newerMs = 10_000
/** 60 s: a registry that did not answer is not asked again by every task that starts. */
const againMs = 60_000
/** Steps in percent: each is a record to every node. */
const step = 10

export interface Images {
  /** Rejects with 'program-missing' and Docker's message. `isWanted`: asked on the way; false ends it. */
  have(engine: Engine, image: string, way: Preparing): Promise<void>
  /** The image of sandboxes, made where it is missing. */
  havePause(engine: Engine): Promise<void>
}

export interface ImagesOptions {
  /** Folder of Docker's client configuration: the logins of this node. */
  readonly logins: string
  readonly clock: Clock
  readonly log: Log
}

export function createImages({ logins, clock, log }: ImagesOptions): Images {
  const failedAtMs = new Map<string, number>()
  /** By registry. */
  const toldProblems = new Map<string, string>()
  let making: Promise<void> | undefined

  async function have(engine: Engine, image: string, way: Preparing): Promise<void> {
    const name = withTag(image)
    const isHere = await isLocal(engine, name)
    const failedMs = failedAtMs.get(name)
    const isAsked =
      !isHere || (name.endsWith(':latest') && (failedMs === undefined || clock.now() - failedMs > againMs))
    if (!isAsked) return
    const registry = registryOf(name)
    const found = await findLogin(logins, registry)
    tellProblem(registry, found)
    try {
      await pull(engine, name, { ...way, login: found.login, silenceMs: isHere ? newerMs : silenceMs })
      failedAtMs.delete(name)
    } catch (thrown) {
      if (!way.isWanted()) throw thrown
      if (!isHere) {
        const why = reasonOf(thrown) + remedy(reasonOf(thrown), found, registry)
        throw fault('program-missing', `No such image: ${name} (${why})`, undefined, thrown)
      }
      failedAtMs.set(name, clock.now())
    }
  }

  /** Once per change: it is asked at every fetch. */
  function tellProblem(registry: string, { problem }: Found): void {
    if (problem === undefined) toldProblems.delete(registry)
    else if (problem !== toldProblems.get(registry)) {
      log.warn('images are fetched without a login', { registry, reason: problem })
      toldProblems.set(registry, problem)
    }
  }

  return {
    have,
    async havePause(engine) {
      if (await isLocal(engine, pauseImage)) return
      making ??= importPause(engine).finally(() => {
        making = undefined
      })
      await making
    },
  }
}

/** What to do about a fetch that failed: registries hide what they have from those who are not logged in. */
export function remedy(why: string, { login, problem }: Found, registry: string): string {
  if (problem !== undefined) return `; ${problem}`
  if (login !== undefined || !/unauthorized|no basic auth|denied|authentication required/i.test(why)) return ''
  return `; this node has no login for ${registry}: type docker login there, as the user of the agent`
}

/** Without a tag Docker would fetch all of them. */
export function withTag(image: string): string {
  return /@|:[^/]*$/.test(image) ? image : `${image}:latest`
}

async function isLocal({ docker }: Engine, name: string): Promise<boolean> {
  try {
    await inspectImage({ docker }, name)
    return true
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'not-found') return false
    throw thrown
  }
}

export async function inspectImage({ docker }: Pick<Engine, 'docker'>, name: string): Promise<ImageInspectInfo> {
  return await bounded(`image ${name}`, askMs, (abortSignal) =>
    docker.getImage(name).inspect({ abortSignal } as ImageInspectOptions),
  )
}

const progressSchema = z.looseObject({
  id: z.string().optional(),
  status: z.string().optional(),
  progressDetail: z.looseObject({ current: z.number().optional(), total: z.number().optional() }).optional(),
  error: z.string().optional(),
})
type Progress = z.infer<typeof progressSchema>

interface Fetch extends Preparing {
  readonly login: Login | undefined
  readonly silenceMs: number
}

async function pull(engine: Engine, name: string, way: Fetch): Promise<void> {
  const ending = new AbortController()
  const watchdog = setTimeout(() => ending.abort(), way.silenceMs)
  const layers = new Map<string, { readonly current: number; readonly total: number }>()
  let told = -1
  way.tell(`pulling ${name}`)
  try {
    const stream = await engine.docker.pull(name, { abortSignal: ending.signal, authconfig: way.login })
    for await (const line of jsonLines(stream as Readable)) {
      watchdog.refresh()
      if (!way.isWanted()) throw fault('unavailable', 'It is not wanted any more')
      const { data: said } = progressSchema.safeParse(line)
      if (said?.error !== undefined) throw fault('program-missing', said.error)
      const percent = said === undefined ? undefined : shareOf(layers, said)
      if (percent === undefined || percent < told + step) continue
      told = percent
      way.tell(`pulling ${name} ${percent} %`)
    }
  } catch (thrown) {
    if (!ending.signal.aborted) throw refused(thrown)
    throw fault('unavailable', `nothing came from the registry for ${way.silenceMs / 1000} s`, undefined, thrown)
  } finally {
    clearTimeout(watchdog)
    // Whatever is left of it ends too.
    ending.abort()
  }
}

/** Percent of what is known to come, in steps; undefined: nothing is known. Layers are announced one by one, so it may fall. */
export function shareOf(
  layers: Map<string, { readonly current: number; readonly total: number }>,
  { id, status, progressDetail }: Progress,
): number | undefined {
  const { current, total } = progressDetail ?? {}
  const before = id === undefined ? undefined : layers.get(id)
  if (id !== undefined && status === 'Downloading' && total !== undefined)
    layers.set(id, { current: current ?? 0, total })
  else if (id !== undefined && before !== undefined && status === 'Download complete')
    layers.set(id, { current: before.total, total: before.total })
  const all = [...layers.values()]
  const whole = all.reduce((sum, layer) => sum + layer.total, 0)
  if (whole === 0) return undefined
  const there = all.reduce((sum, layer) => sum + layer.current, 0)
  return Math.floor((100 * there) / whole / step) * step
}

async function importPause({ docker, arch }: Engine): Promise<void> {
  const program = pauseProgram(arch)
  if (program === undefined) throw fault('unsupported', `There is no sandbox for machines of kind ${arch}`)
  const archive = Readable.from([archiveOf('pause', program)])
  const [repo, tag] = pauseImage.split(':')
  await bounded('the image of sandboxes', makeMs, async (abortSignal) => {
    const stream = await docker.importImage(archive as never, { repo, tag, abortSignal })
    for await (const line of jsonLines(stream as Readable)) {
      const said = progressSchema.safeParse(line).data?.error
      if (said !== undefined) throw fault('unavailable', said)
    }
  })
}
