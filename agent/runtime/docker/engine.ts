/**
 * The way to Docker's engine: dockerode over its unix socket, with a bound on every call, and its refusals as faults in Docker's own words.
 *
 * An engine that hangs is told like one that is gone: no call waits for ever.
 */
import { inspect } from 'node:util'
import Docker, { type DockerVersion } from 'dockerode'
import { type Fault, fault, reasonOf } from '../../fault.ts'
import { http } from '../../http.ts'

export interface Engine {
  readonly docker: Docker
  /** Of the engine, as Docker says it. */
  readonly arch: string
  readonly version: string
}

/** 1.41 (Docker 20.10): the first with all that a service of Swarm can ask of a container. */
const apiMin = 41
/** The last whose calls and shapes were read; a newer engine serves it too. */
const apiMax = 51
/** 10 s: what only looks or signals. An engine under load answers within one. */
export const askMs = 10_000
/** 60 s: to make and start a container on a slow disk. */
export const makeMs = 60_000
/** 5 s: whether anything answers at all, asked when the agent starts. */
const helloMs = 5_000

/** Rejects with 'unavailable' where nothing answers at the socket, with 'unsupported' where the engine is too old or is none. */
export async function openEngine(socketPath: string): Promise<Engine> {
  const found = await bounded(
    'the version',
    helloMs,
    (abortSignal) =>
      connect(socketPath, undefined).version({ abortSignal } as never) as unknown as Promise<DockerVersion>,
  ).catch((thrown: unknown) => {
    throw fault(
      'unavailable',
      `Docker does not answer at ${socketPath}: ${reasonOf(thrown)}`,
      'Start it (systemctl start docker), name its socket with --docker-socket, or start the agent with --runtime process',
      thrown,
    )
  })
  // DOCKER_HOST may name the socket of an agent, as users of this API set it: containers are not made by one agent for another.
  if (found.Components?.some(({ Name }) => Name === 'Grapevine')) {
    throw fault(
      'unsupported',
      `What answers at ${socketPath} is a Grapevine agent, not a Docker engine`,
      "Name the engine's own socket with --docker-socket, or start the agent with --runtime process",
    )
  }
  const minor = (text: string | undefined) => Number(/^1\.(\d{1,4})$/.exec(text ?? '')?.[1] ?? 0)
  const newest = minor(found.ApiVersion)
  if (newest < apiMin) {
    throw fault(
      'unsupported',
      `Docker ${found.Version} at ${socketPath} is too old: it speaks API ${found.ApiVersion}, and 1.${apiMin} is needed`,
      'Install Docker 20.10 or later there, or start the agent with --runtime process',
    )
  }
  const docker = connect(socketPath, `v1.${Math.min(newest, apiMax)}`)
  return { docker, arch: found.Arch, version: found.Version }
}

function connect(socketPath: string, version: string | undefined): Docker {
  // DOCKER_HOST of the agent's environment has been read by config.ts; what is undefined here keeps the client from reading it again. A connection a
  // call: one that is kept would be dead after a restart of the engine.
  // dockerode prints the options of every call for its debug log, read or not. Without a short form of the agent in them that walks all sockets and
  // requests under way: more than half of the processor time of an agent that starts 25 containers at once.
  const agent = Object.assign(new http.Agent({ keepAlive: false }), { [inspect.custom]: () => 'Agent' })
  const options = { socketPath, protocol: 'http', agent, host: undefined, version }
  return new Docker(options as unknown as Docker.DockerOptions)
}

/** One call with an end. `what`: for the sentence of an engine that hangs. */
export async function bounded<T>(what: string, ms: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(ms)
  try {
    return await call(signal)
  } catch (thrown) {
    throw signal.aborted
      ? fault('unavailable', `Docker did not answer within ${ms / 1000} s when asked for ${what}`, undefined, thrown)
      : refused(thrown)
  }
}

/** Docker's own message, without what its client wraps around. */
export function refused(thrown: unknown): Fault {
  const { statusCode, json, code } = thrown as { statusCode?: unknown; json?: unknown; code?: unknown }
  if (typeof statusCode !== 'number') {
    const gone = code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ECONNRESET'
    const why = gone ? `Docker does not answer (${String(code)})` : reasonOf(thrown)
    return fault('unavailable', why, undefined, thrown)
  }
  const told = (json as { message?: unknown } | null | undefined)?.message
  // Without a body of its own: dockerode's words around Docker's.
  const message = (typeof told === 'string' ? told : reasonOf(thrown)).replace(/^\(HTTP code \d+\) .*? - /, '').trim()
  return fault(codeOf(statusCode, message), message.slice(0, messageCharactersMax), undefined, thrown)
}

/** As much as `service ps --no-trunc` is worth. */
const messageCharactersMax = 1_000

function codeOf(status: number, message: string) {
  if (status === 400) return 'invalid'
  if (status === 404) return 'not-found'
  if (status === 409) return 'conflict'
  return /no space left/i.test(message) ? 'unavailable' : 'internal'
}
