/**
 * `vine stack deploy`: makes networks, secrets, configs and services of Compose files, or changes the services that are there.
 *
 * Everything is converted before anything is created, so that a file with a fault leaves no half of a stack. What the API refuses is told as it says it.
 */
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { Fault, fault } from '../../fault.ts'
import { type Call, on, text } from '../definition.ts'
import type { Network, Service } from '../docker.ts'
import { converge } from '../service/progress.ts'
import { serviceSpecs } from './compose/convert.ts'
import { imageLabel } from './compose/labels.ts'
import type { Merged } from './compose/merge.ts'
import { networksOf, type StackNetworks } from './compose/networks.ts'
import type { Compose, FileObject } from './compose/schema.ts'
import { filesOf, objectSpecs } from './compose/secrets.ts'
import { membersOf } from './members.ts'
import { readAll, readCompose } from './read.ts'

export async function deploy(call: Call): Promise<number> {
  const [stack = ''] = call.args
  const merged = await readCompose(call, { skipInterpolation: false })
  tellIgnored(call, merged)
  const { compose } = merged
  const specs = serviceSpecs(stack, compose)
  const networks = networksOf(stack, compose)
  if (on(call.options, 'prune')) await prune(call, stack, specs)
  await checkExternal(call, networks)
  await createNetworks(call, stack, networks)
  await createObjects(call, stack, compose)
  const ids = await deployServices(call, stack, specs)
  let code = 0
  // As Docker does: it returns at once unless it is told to wait.
  if (call.options.detach === false) for (const id of ids) code = Math.max(code, await converge(call, id))
  return code
}

function tellIgnored({ io }: Call, { ignored: { unsupported, deprecated } }: Merged): void {
  if (unsupported.length > 0) io.err.write(`Ignoring unsupported options: ${unsupported.join(', ')}\n\n`)
  if (deprecated.length > 0) io.err.write(`Ignoring deprecated options:\n\n${deprecated.join('\n\n')}\n\n`)
}

async function prune(call: Call, stack: string, kept: ReadonlyMap<string, ServiceSpec>): Promise<void> {
  const names = new Set([...kept.values()].map(({ Name }) => Name))
  for (const service of await membersOf<Service>(call, '/services', stack)) {
    if (names.has(service.Spec.Name)) continue
    call.io.err.write(`Removing service ${service.Spec.Name}\n`)
    await call.api.delete(`/services/${service.ID}`)
  }
}

async function checkExternal({ api }: Call, { external }: StackNetworks): Promise<void> {
  for (const name of external) {
    try {
      await api.get<Network>(`/networks/${encodeURIComponent(name)}`)
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'not-found') throw error
      throw new Fault(
        'not-found',
        `network "${name}" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed`,
        { fix: `Create it with: vine network create ${name}`, cause: error },
      )
    }
  }
}

async function createNetworks(call: Call, stack: string, { create }: StackNetworks): Promise<void> {
  const there = new Set((await membersOf<Network>(call, '/networks', stack)).map(({ Name }) => Name))
  for (const network of create.filter(({ Name }) => !there.has(Name))) {
    call.io.out.write(`Creating network ${network.Name}\n`)
    const made = await failing(`failed to create network ${network.Name}`, () =>
      call.api.post<{ readonly Warning?: string }>('/networks/create', network),
    )
    call.warn(made.Warning ? [made.Warning] : [])
  }
}

/** Secrets and configs of files: one that is there is changed, another created. */
async function createObjects(call: Call, stack: string, { secrets = {}, configs = {} }: Compose): Promise<void> {
  await createKind(call, { stack, kind: 'secret', objects: secrets })
  await createKind(call, { stack, kind: 'config', objects: configs })
}

interface Kind {
  readonly stack: string
  readonly kind: 'secret' | 'config'
  readonly objects: Readonly<Record<string, FileObject>>
}

async function createKind(call: Call, { stack, kind, objects }: Kind): Promise<void> {
  const contents = await readAll(filesOf(objects), 'base64')
  for (const spec of objectSpecs(stack, objects, contents)) {
    call.io.out.write(`Creating ${kind} ${spec.Name}\n`)
    await failing(`failed to create ${kind} ${spec.Name}`, () => call.api.post(`/${kind}s/create`, spec))
  }
}

interface Written {
  readonly ID?: string
  readonly Warnings?: readonly string[]
}

async function deployServices(call: Call, stack: string, specs: ReadonlyMap<string, ServiceSpec>): Promise<string[]> {
  const there = new Map((await membersOf<Service>(call, '/services', stack)).map((s) => [s.Spec.Name, s]))
  const ids: string[] = []
  for (const spec of specs.values()) {
    const old = there.get(spec.Name)
    call.io.out.write(
      old === undefined ? `Creating service ${spec.Name}\n` : `Updating service ${spec.Name} (id: ${old.ID})\n`,
    )
    const answer = await (old === undefined
      ? failing(`failed to create service ${spec.Name}`, () => call.api.post<Written>('/services/create', spec))
      : failing(`failed to update service ${spec.Name}`, () =>
          call.api.post<Written>(`/services/${old.ID}/update`, over(old, spec, text(call.options, 'resolveImage')), {
            version: old.Version.Index,
          }),
        ))
    call.warn(answer?.Warnings)
    ids.push(answer?.ID ?? old?.ID ?? '')
  }
  return ids
}

/** What a deploy leaves as it is: forced updates, and an image that the file has not changed and nobody is to look up anew. */
function over(old: Service, spec: ServiceSpec, resolve: string | undefined): ServiceSpec {
  const keepsImage =
    resolve !== undefined && resolve !== 'always' && spec.Labels?.[imageLabel] === old.Spec.Labels?.[imageLabel]
  const container = spec.TaskTemplate.ContainerSpec
  return {
    ...spec,
    TaskTemplate: {
      ...spec.TaskTemplate,
      ContainerSpec: keepsImage ? { ...container, Image: old.Spec.TaskTemplate.ContainerSpec.Image } : container,
      ForceUpdate: old.Spec.TaskTemplate.ForceUpdate ?? 0,
    },
  }
}

/** Says what failed before the API's own sentence. */
async function failing<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    throw fault(error.code, `${what}: ${error.message}`, error.fix, error)
  }
}
