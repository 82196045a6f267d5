/**
 * Docker's Go templates in a service's environment, arguments and hostname, as far as tasks need them: `{{.Service.Name}}`,
 * `{{.Task.Slot}}`, `{{.Node.Hostname}}`, `{{index .Service.Labels "tier"}}`, and ours, `{{.Task.Address}}` and `{{.Task.Port}}`.
 *
 * Only these forms are read (moby daemon/cluster/convert; swarmkit template/context.go). Braces of anything else are left alone, since
 * programs are passed as arguments too.
 */
import { fault } from '../fault.ts'

export interface TemplateContext {
  readonly service: { readonly id: string; readonly name: string; readonly labels: Readonly<Record<string, string>> }
  readonly node: { readonly id: string; readonly hostname: string; readonly os: string; readonly arch: string }
  readonly task: {
    readonly id: string
    readonly name: string
    readonly slot: string
    readonly address: string
    /** Real number of its first target port; undefined when it has none. */
    readonly port: number | undefined
  }
}

const form = /\{\{-?\s*(?:(index)\s+)?\.(Service|Node|Task)((?:\.[\w-]+)+)(?:\s+"([^"]*)")?\s*-?\}\}/g

/** Throws a Fault ('invalid') for a field that does not exist. */
export function expand(text: string, context: TemplateContext): string {
  return text.replace(form, (whole: string, index: string | undefined, root: string, path: string, key?: string) => {
    const names = path.slice(1).split('.')
    const value = index === undefined ? field(context, root, names) : field(context, root, [...names, key ?? ''])
    if (value === undefined)
      throw fault('invalid', `unknown field in template ${whole}`, 'See the fields in the command reference.')
    return value
  })
}

function field(
  { service, node, task }: TemplateContext,
  root: string,
  [name, ...rest]: readonly string[],
): string | undefined {
  const path = `${root}.${name}`
  // A missing label is empty text, as a missing key of a Go map is.
  if (path === 'Service.Labels' && rest.length > 0) return service.labels[rest.join('.')] ?? ''
  if (path === 'Node.Platform' && rest.length === 1) return { OS: node.os, Architecture: node.arch }[rest[0] ?? '']
  if (rest.length > 0) return undefined
  const fields: Readonly<Record<string, string>> = {
    'Service.ID': service.id,
    'Service.Name': service.name,
    'Node.ID': node.id,
    'Node.Hostname': node.hostname,
    'Task.ID': task.id,
    'Task.Name': task.name,
    'Task.Slot': task.slot,
    'Task.Address': task.address,
    'Task.Port': task.port === undefined ? '' : String(task.port),
  }
  return fields[path]
}
