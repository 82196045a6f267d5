/**
 * What the engine of this machine and the swarm answer together. The engine's answer stands, with the swarm's part in its place: no field of
 * either is made up. Pure; an engine that gave no answer leaves ours as it is.
 */
import type { EngineAnswer } from './engine.ts'

type Body = Readonly<Record<string, unknown>>

/** `/info`: the machine and its containers as the engine tells, `Swarm` ours. */
export function mergeInfo(
  ours: { readonly Swarm: object; readonly Warnings: readonly string[] },
  answer?: EngineAnswer,
) {
  const engine = bodyOf(answer)
  if (engine === undefined) return ours
  return { ...engine, Swarm: ours.Swarm, Warnings: [...listOf(engine.Warnings), ...ours.Warnings] }
}

interface OurVersion {
  readonly ApiVersion: string
  readonly MinAPIVersion: string
  readonly Components: readonly object[]
}

/** `/version`: the engine's with Grapevine among the components, and the API that both speak. */
export function mergeVersion(ours: OurVersion, answer?: EngineAnswer) {
  const engine = bodyOf(answer)
  if (engine === undefined) return ours
  const least = textOf(engine.MinAPIVersion) ?? ours.MinAPIVersion
  return {
    ...engine,
    Components: [...listOf(engine.Components), ...ours.Components],
    ApiVersion: lowerVersion(ours.ApiVersion, textOf(engine.ApiVersion)),
    MinAPIVersion: minor(least) > minor(ours.MinAPIVersion) ? least : ours.MinAPIVersion,
  }
}

/** The older of two versions of the API, since a client that negotiated one is answered by either. */
export function lowerVersion(ours: string, engine: string | undefined): string {
  return engine !== undefined && minor(engine) < minor(ours) ? engine : ours
}

/** The engine's networks of this machine alone. Those of a swarm of its own would be confused with ours. */
export function localNetworks(answer: EngineAnswer | undefined): readonly Body[] {
  if (answer?.status !== 200) return []
  return listOf(answer.body).filter((network): network is Body => isBody(network) && network.Scope !== 'swarm')
}

export function isLocalNetwork(answer: EngineAnswer | undefined): boolean {
  return bodyOf(answer)?.Scope === 'local'
}

export function bodyOf(answer: EngineAnswer | undefined): Body | undefined {
  return answer?.status === 200 && isBody(answer.body) ? answer.body : undefined
}

function isBody(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && /^1\.\d{1,4}$/.test(value) ? value : undefined
}

function minor(version: string): number {
  return Number(version.split('.')[1])
}
