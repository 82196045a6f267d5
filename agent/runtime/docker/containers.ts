/**
 * The calls that make, look at, signal and remove containers of ours, each with an end. No policy.
 */
import type { ContainerInfo, ContainerInspectInfo } from 'dockerode'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import { Fault } from '../../fault.ts'
import type { CreateCall } from './create.ts'
import { askMs, bounded, type Engine, makeMs } from './engine.ts'
import { label } from './labels.ts'

/** Of this node, running or not; of one task of it. */
export async function listOurs({ docker }: Engine, node: NodeId, task?: TaskId): Promise<readonly ContainerInfo[]> {
  const labels = [`${label.node}=${node}`, ...(task === undefined ? [] : [`${label.task}=${task}`])]
  return await bounded('containers', askMs, (abortSignal) =>
    docker.listContainers({ all: true, filters: { label: labels }, abortSignal }),
  )
}

/** Resolves to its id. */
export async function create({ docker }: Engine, { name, body }: CreateCall): Promise<string> {
  const call = { _query: { name }, _body: body }
  const made = await bounded('a container', makeMs, (abortSignal) =>
    docker.createContainer({ ...call, abortSignal } as never),
  )
  return made.id
}

export async function start({ docker }: Engine, container: string): Promise<void> {
  await bounded('the start of a container', makeMs, (abortSignal) =>
    docker.getContainer(container).start({ abortSignal }),
  )
}

/** Undefined: there is none. */
export async function inspect({ docker }: Engine, container: string): Promise<ContainerInspectInfo | undefined> {
  return await unlessGone(
    bounded('a container', askMs, (abortSignal) => docker.getContainer(container).inspect({ abortSignal })),
  )
}

/** One that does not run has ended already, which is what was wanted or will be heard of. SIGKILL is answered when the container has ended. */
export async function signal({ docker }: Engine, container: string, name: string): Promise<void> {
  await unlessGone(
    bounded('a signal', name === 'SIGKILL' ? makeMs : askMs, (abortSignal) =>
      docker.getContainer(container).kill({ signal: name, abortSignal }),
    ),
  )
}

/** With its own volumes, as Swarm does; named ones stay. */
export async function remove({ docker }: Engine, container: string): Promise<void> {
  await unlessGone(
    bounded('the removal of a container', makeMs, (abortSignal) =>
      docker.getContainer(container).remove({ force: true, v: true, abortSignal }),
    ),
  )
}

/** 409: it does not run, or is being removed by another call. */
async function unlessGone<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (thrown) {
    if (thrown instanceof Fault && (thrown.code === 'not-found' || thrown.code === 'conflict')) return undefined
    throw thrown
  }
}
