/** Which node is meant: the agent takes names, ids, starts of ids, and `self` for itself. */
import { Fault } from '../../fault.ts'
import type { Call } from '../definition.ts'
import type { Info, Node } from '../docker.ts'

/** Throws a 'not-found' fault that says where to look. */
export async function findNode({ api }: Pick<Call, 'api'>, name: string): Promise<Node> {
  try {
    return await api.get<Node>(`/nodes/${encodeURIComponent(name)}`)
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
