/**
 * The containers of this machine's engine, for connections to networks of the cluster: what one is, and when any begins or ends.
 *
 * The engine's words are foreign: read by a schema, and what does not fit is no container. Its events tell no more than where to look.
 */
import { z } from 'zod'
import type { Container } from '../../core/guests.ts'
import { fault } from '../../fault.ts'
import type { Cancel, Clock, Containers } from '../../world.ts'
import { type Engine, noEngine } from './engine.ts'

/** 1 s: an engine that is gone is asked for its events again; it costs one refused connection. */
const againMs = 1_000
/** 2 s: a request's own time, and the engine counts in seconds. */
const overlapMs = 2_000
/** What says that a task or its sandbox is ours (runtime/docker/labels.ts). */
const taskLabel = 'grapevine.task'

const inspectSchema = z.object({
  Id: z.string().regex(/^[0-9a-f]{64}$/),
  Name: z.string().max(1024),
  State: z.object({ Running: z.boolean(), Pid: z.number().int().nonnegative() }),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }),
  HostConfig: z.object({ NetworkMode: z.string(), Dns: z.array(z.string()).nullish() }),
  NetworkSettings: z.object({ Networks: z.record(z.string(), z.unknown()).nullish() }),
})

const eventSchema = z.object({ Action: z.string(), Actor: z.object({ ID: z.string() }) })

export function createContainers(engine: Engine, clock: Pick<Clock, 'after' | 'wall'>): Containers {
  return {
    async find(name) {
      const path = `/containers/${encodeURIComponent(name)}/json`
      const answer = await engine.ask('GET', path, new AbortController().signal)
      if (answer === undefined) throw noEngine(engine.socket)
      if (answer.status === 404) return undefined
      const container = answer.status === 200 ? readContainer(answer.body) : undefined
      if (container === undefined)
        throw fault('unavailable', `the Docker engine does not say what container ${name} is (${answer.status})`)
      return container
    },
    watch: (listener) => watch(engine, clock, listener),
  }
}

/** undefined: the engine's answer is not what its API says. Exported for tests. */
export function readContainer(body: unknown): Container | undefined {
  const read = inspectSchema.safeParse(body)
  if (!read.success) return undefined
  const { Id: id, Name, State, Config, HostConfig, NetworkSettings } = read.data
  const mode = HostConfig.NetworkMode
  return {
    id,
    name: Name.replace(/^\//, ''),
    pid: State.Running && State.Pid > 0 ? State.Pid : undefined,
    namespace: mode === 'host' || mode.startsWith('container:') ? 'shared' : 'own',
    networks: Object.keys(NetworkSettings.Networks ?? {}),
    dns: HostConfig.Dns ?? [],
    isTask: Config.Labels?.[taskLabel] !== undefined,
  }
}

function watch(
  engine: Engine,
  clock: Pick<Clock, 'after' | 'wall'>,
  listener: (container: string | undefined) => void,
): Cancel {
  const ended = new AbortController()
  const filters = JSON.stringify({ type: ['container'], event: ['start', 'die', 'destroy', 'rename'] })
  const listen = async () => {
    // From a little before: whoever was looked at meanwhile may have changed before the engine began to tell.
    const since = Math.floor((clock.wall() - overlapMs) / 1000)
    const path = `/events?since=${since}&filters=${encodeURIComponent(filters)}`
    for await (const line of engine.lines(path, ended.signal)) {
      const event = eventSchema.safeParse(parse(line))
      if (event.success && !ended.signal.aborted) listener(event.data.Actor.ID)
    }
    if (ended.signal.aborted) return
    clock.after(againMs, () => {
      if (ended.signal.aborted) return
      void listen()
      // What happened while nobody listened.
      listener(undefined)
    })
  }
  void listen()
  return () => ended.abort()
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
