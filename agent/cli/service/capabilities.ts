/**
 * Linux capabilities in Docker's form: upper case, with CAP_, sorted, each once; ALL stands alone; what is added is not dropped.
 *
 * Rules: docker/cli opts/capabilities.go and command/service/update.go. Which names exist is decided by the node's engine.
 */

type Capabilities = { readonly CapabilityAdd: string[]; readonly CapabilityDrop: string[] }

const all = 'ALL'
/** Begins anew in an update; asks for nothing elsewhere. */
const reset = 'RESET'

export function capabilities(add: readonly string[], drop: readonly string[]): Capabilities {
  const [added, dropped] = [alone(normal(add)), alone(normal(drop))]
  return { CapabilityAdd: listed(added), CapabilityDrop: listed([...dropped].filter((name) => !added.has(name))) }
}

/**
 * What an update makes of those there are: to drop what was added takes that back, and to add what was dropped likewise; only what was in
 * neither list comes into one. Of a name in both flags only the adding counts.
 */
export function changeCapabilities(
  before: { readonly add: readonly string[]; readonly drop: readonly string[] },
  flags: { readonly add: readonly string[]; readonly drop: readonly string[] },
): Capabilities {
  const [toAdd, toDrop] = [normal(flags.add), normal(flags.drop)]
  const added = toAdd.has(reset) ? new Set<string>() : new Set(normal(before.add))
  const dropped = toDrop.has(reset) ? new Set<string>() : new Set(normal(before.drop))
  for (const name of toDrop) if (!toAdd.has(name) && !added.delete(name)) dropped.add(name)
  for (const name of toAdd) if (!dropped.delete(name)) added.add(name)
  return capabilities([...added], [...dropped])
}

function normal(names: readonly string[]): ReadonlySet<string> {
  return new Set(
    names
      .map((name) => name.trim().toUpperCase())
      .map((name) => (name === all || name === reset || name.startsWith('CAP_') ? name : `CAP_${name}`)),
  )
}

function alone(names: ReadonlySet<string>): ReadonlySet<string> {
  return names.has(all) ? new Set([all]) : names
}

function listed(names: Iterable<string>): string[] {
  return [...names].filter((name) => name !== reset).sort()
}
