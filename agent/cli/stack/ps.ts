/** `vine stack ps`: the tasks of a stack's services. */
import { fault } from '../../fault.ts'
import type { Call } from '../definition.ts'
import type { Service, Task } from '../docker.ts'
import { filterQuery } from '../filter.ts'
import { printTasks } from '../tasks.ts'
import { membersOf } from './members.ts'

export async function ps(call: Call): Promise<number> {
  const [stack = ''] = call.args
  const services = await membersOf<Service>(call, '/services', stack)
  const ids = services.map(({ ID }) => ID)
  const query = { filters: filterQuery(call.options, { service: ids }) }
  const tasks = ids.length === 0 ? [] : await call.api.get<readonly Task[]>('/tasks', query)
  if (tasks.length === 0)
    throw fault('not-found', `nothing found in stack: ${stack}`, 'List stacks with: vine stack ls')
  await printTasks(call, tasks)
  return 0
}
