/** Docker's service flags that are not there, each with the sentence that is its answer. */
import type { OptionDefinition } from '../definition.ts'

const rolling =
  'an update replaces slots one after another, each healthy before the next; its order is set by --update-order'
const rollback = 'updates are not rolled back yet; `vine service inspect` shows the previous spec'
const swap = 'containers have the swap that their engine gives them; --limit-memory limits the rest'
const windows = 'it is of Windows, and nodes run Linux'
const files = 'there are none yet; pass what is secret or large in a file of the nodes'
const resolver = 'each task asks its own resolver, the agent; the agent is told by `vine agent --upstream-dns`'
const registry =
  'each node fetches images by itself, with its own login: type docker login there, as the user of the agent'
export const jobs = 'jobs are not supported yet; take --restart-condition none or on-failure'

function refuse(says: string, ...flags: readonly string[]): readonly OptionDefinition[] {
  return flags.map((flag) => ({ flags: flag, says }))
}

const both: readonly OptionDefinition[] = [
  ...refuse(rolling, '--update-parallelism <n>', '--update-delay <time>', '--update-monitor <time>'),
  ...refuse(rolling, '--update-failure-action <action>', '--update-max-failure-ratio <ratio>'),
  ...refuse(rollback, '--rollback-parallelism <n>', '--rollback-delay <time>', '--rollback-monitor <time>'),
  ...refuse(
    rollback,
    '--rollback-failure-action <action>',
    '--rollback-max-failure-ratio <ratio>',
    '--rollback-order <order>',
  ),
  ...refuse(swap, '--memory-swap <bytes>', '--memory-swappiness <n>'),
  ...refuse(windows, '--credential-spec <spec>'),
  ...refuse(jobs, '--max-concurrent <n>'),
  ...refuse(registry, '--no-resolve-image', '--with-registry-auth'),
]

export const refusedByCreate: readonly OptionDefinition[] = [
  ...both,
  ...refuse(files, '--secret <secret>', '--config <config>'),
  ...refuse(resolver, '--dns <ip>'),
  ...refuse('only CPUs and memory can be reserved', '--generic-resource <resource>'),
]

export const refusedByUpdate: readonly OptionDefinition[] = [
  ...both,
  ...refuse(rollback, '--rollback'),
  ...['secret', 'config'].flatMap((word) => addAndRemove(files, word)),
  ...addAndRemove(resolver, 'dns'),
  ...addAndRemove('only CPUs and memory can be reserved', 'generic-resource'),
]

function addAndRemove(says: string, word: string): readonly OptionDefinition[] {
  return refuse(says, `--${word}-add <value>`, `--${word}-rm <value>`)
}
