/** What belongs to a stack: the label that Docker puts on everything it makes for one. */
import { filters } from '../client.ts'
import type { Call } from '../definition.ts'
import { namespaceLabel } from './compose/labels.ts'

export function stackLabel(stack: string): string {
  return `${namespaceLabel}=${stack}`
}

/** Services, networks or tasks of one stack. */
export function membersOf<T>({ api }: Pick<Call, 'api'>, path: '/services' | '/networks', stack: string) {
  return api.get<readonly T[]>(path, { filters: filters({ label: [stackLabel(stack)] }) })
}
