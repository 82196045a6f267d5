/** `vine node ps`. */
import type { Call } from '../definition.ts'
import type { Task } from '../docker.ts'
import { forEach } from '../each.ts'
import { filterQuery } from '../filter.ts'
import { printTasks } from '../tasks.ts'
import { findNode } from './find.ts'

export async function ps(call: Call): Promise<number> {
  const ids: string[] = []
  const code = await forEach(call, call.args.length > 0 ? call.args : ['self'], async (name) => {
    ids.push((await findNode(call, name)).ID)
  })
  if (ids.length === 0) return code
  await printTasks(
    call,
    await call.api.get<readonly Task[]>('/tasks', { filters: filterQuery(call.options, { node: ids }) }),
  )
  return code
}
