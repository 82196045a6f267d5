/** `--filter key=value`, several of one key meaning any of them, several keys meaning all: Docker's JSON for the API. */
import { filters } from './client.ts'
import { list, type Options } from './definition.ts'
import { usage } from './usage.ts'

/** The `filters` query of a list call, or undefined. The agent refuses unknown keys with a sentence. */
export function filterQuery(
  options: Options,
  always: Readonly<Record<string, readonly string[]>> = {},
): string | undefined {
  const byKey: Record<string, readonly string[]> = { ...always }
  for (const text of list(options, 'filter')) {
    const at = text.indexOf('=')
    if (at < 1) throw usage(`invalid filter "${text}"`, 'Write it as key=value, for instance name=web')
    const key = text.slice(0, at).trim().toLowerCase()
    byKey[key] = [...(byKey[key] ?? []), text.slice(at + 1).trim()]
  }
  return filters(byKey)
}
