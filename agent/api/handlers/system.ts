/**
 * Docker's system paths: _ping, version, info, and the registry look-up that its client makes before `service create`. Where the machine has a
 * Docker engine, its part is in the answers.
 */
import { fault } from '../../fault.ts'
import type { ApiContext } from '../context.ts'
import type { EngineAnswer } from '../engine/engine.ts'
import { lowerVersion, mergeInfo, mergeVersion } from '../engine/merge.ts'
import { type ApiRequest, json, type Reply } from '../exchange.ts'
import { renderInfo, renderVersion } from '../render/swarm.ts'
import { apiVersion } from '../router.ts'

/** Clients negotiate by its headers: the version that engine and agent both speak, and which builder the engine has. */
export async function ping(context: ApiContext, request: ApiRequest): Promise<Reply> {
  const answer = await askEngine(context, request, '/_ping')
  const builder = answer?.headers['builder-version']
  const headers = {
    'Api-Version': lowerVersion(apiVersion, headerOf(answer, 'api-version')),
    ...(typeof builder === 'string' ? { 'Builder-Version': builder } : {}),
  }
  return { kind: 'text', status: 200, type: 'text/plain; charset=utf-8', text: 'OK', headers }
}

export async function version(context: ApiContext, request: ApiRequest): Promise<Reply> {
  return json(mergeVersion(renderVersion(context), await askEngine(context, request, '/version')))
}

export async function info(context: ApiContext, request: ApiRequest): Promise<Reply> {
  return json(mergeInfo(renderInfo(context), await askEngine(context, request, '/info')))
}

/**
 * Where this node runs containers, its engine asks the registry. Elsewhere images are programs of the nodes and there is no registry to ask:
 * Docker's client goes on with a warning.
 */
export function distribution(context: ApiContext, request: ApiRequest): Reply {
  const name = (request.params.name ?? '').slice(0, 200)
  const runtimes = context.view.members.get(context.view.self)?.record.value.runtimes ?? []
  const absent = `no registry is asked for ${name}: an image is a program of the nodes`
  if (!runtimes.includes('docker') || request.relayed) throw fault('not-found', absent)
  return { kind: 'engine', absent }
}

/** Secrets and configs: there are none, since none can be made. Docker's client asks before it removes a stack. */
export function none(): Reply {
  return json([])
}

/** Another agent that asks wants to know what this one knows. */
async function askEngine({ engine }: ApiContext, request: ApiRequest, path: string): Promise<EngineAnswer | undefined> {
  return request.relayed ? undefined : engine?.ask('GET', path, request.signal)
}

function headerOf(answer: EngineAnswer | undefined, name: string): string | undefined {
  const value = answer?.headers[name]
  return typeof value === 'string' && /^1\.\d{1,4}$/.test(value) ? value : undefined
}
