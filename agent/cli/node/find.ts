/** Which node is meant: `self` is the one that answers. */
import { Fault } from '../../fault.ts'
import type { Call } from '../definition.ts'
import type { Info, Node } from '../docker.ts'

/** Throws a 'not-found' fault that says where to look. */
export async function findNode({ api }: Pick<Call, 'api'>, name: string): Promise<Node> {
  const wanted = name === 'self' ? await selfId({ api }) : name
  try {
    return await api.get<Node>(`/nodes/${encodeURIComponent(wanted)}`)
  } catch (error) {
    if (error instanceof Fault && error.code === 'not-found')
      throw new Fault('not-found', `no such node: ${name}`, {
        fix: error.fix ?? 'List them with: vine node ls',
        cause: error,
      })
    throw error
  }
}

export async function selfId({ api }: Pick<Call, 'api'>): Promise<string> {
  return (await api.get<Info>('/info')).Swarm?.NodeID ?? ''
}
