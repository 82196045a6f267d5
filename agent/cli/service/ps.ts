/** `vine service ps`. */
import { Fault } from '../../fault.ts'
import type { Query } from '../client.ts'
import type { Call } from '../definition.ts'
import type { Service, Task } from '../docker.ts'
import { forEach } from '../each.ts'
import { filterQuery } from '../filter.ts'
import { printTasks } from '../tasks.ts'

export async function ps(call: Call): Promise<number> {
  const ids: string[] = []
  const code = await forEach(call, call.args, async (name) => {
    ids.push((await findService(call, name)).ID)
  })
  if (ids.length === 0) return code
  const tasks = await call.api.get<readonly Task[]>('/tasks', { filters: filterQuery(call.options, { service: ids }) })
  await printTasks(call, tasks)
  return code
}

/** The service of a name or id. Throws a 'not-found' fault that says where to look. */
export async function findService({ api }: Pick<Call, 'api'>, name: string, query: Query = {}): Promise<Service> {
  try {
    return await api.get<Service>(`/services/${encodeURIComponent(name)}`, query)
  } catch (error) {
    if (error instanceof Fault && error.code === 'not-found')
      throw new Fault('not-found', `no such service: ${name}`, {
        fix: error.fix ?? 'List them with: vine service ls',
        cause: error,
      })
    throw error
  }
}
