/** `vine stack ls`: stacks are what services are labelled with. */
import { filters } from '../client.ts'
import type { Call } from '../definition.ts'
import type { Service } from '../docker.ts'
import { printListing } from '../listing.ts'
import { naturalCompare } from '../wording.ts'
import { namespaceLabel } from './compose/labels.ts'

export async function ls(call: Call): Promise<number> {
  const services = await call.api.get<readonly Service[]>('/services', {
    filters: filters({ label: [namespaceLabel] }),
  })
  const counts = new Map<string, number>()
  for (const { Spec } of services) {
    const stack = Spec.Labels?.[namespaceLabel] ?? ''
    if (stack !== '') counts.set(stack, (counts.get(stack) ?? 0) + 1)
  }
  const rows = [...counts]
    .map(([Name, Services]) => ({ Name, Services }))
    .toSorted((a, b) => naturalCompare(a.Name, b.Name))
  printListing(call, {
    rows,
    fields: {
      Name: { heading: 'NAME', value: (stack) => stack.Name },
      Services: { heading: 'SERVICES', value: (stack) => String(stack.Services) },
    },
    table: ['Name', 'Services'],
    quiet: (stack) => stack.Name,
    json: rows,
  })
  return 0
}
