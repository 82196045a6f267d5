/** Docker's service flags that are not there yet, each with the sentence that is its answer. */
import type { OptionDefinition } from '../definition.ts'

const rolling =
  'an update replaces slots one after another, each healthy before the next; its order is set by --update-order'
const rollback = 'updates are not rolled back yet; `vine service inspect` shows the previous spec'
const client = 'take `docker -H unix:///run/grapevine/vine.sock service create`, against nodes that run Docker'
const limits = `vine has no word for limits yet; ${client}`
const container = `only containers have it, and vine has no word for it yet; ${client}`
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
  ...refuse(limits, '--limit-cpu <n>', '--limit-memory <bytes>', '--limit-pids <n>', '--memory-swap <bytes>'),
  ...refuse(limits, '--memory-swappiness <n>', '--oom-score-adj <n>'),
  ...refuse(container, '--init', '--isolation <mode>', '--read-only', '-t, --tty', '--credential-spec <spec>'),
  ...refuse(container, '--log-driver <driver>', '--log-opt <opt>'),
  ...refuse(jobs, '--max-concurrent <n>'),
  ...refuse(registry, '--no-resolve-image', '--with-registry-auth'),
]

export const refusedByCreate: readonly OptionDefinition[] = [
  ...both,
  ...refuse(
    container,
    '--cap-add <cap>',
    '--cap-drop <cap>',
    '--group <group>',
    '--sysctl <option>',
    '--ulimit <limit>',
  ),
  ...refuse(files, '--secret <secret>', '--config <config>'),
  ...refuse(container, '--mount <mount>'),
  ...refuse(resolver, '--dns <ip>', '--dns-option <option>', '--dns-search <domain>', '--host <host>'),
  ...refuse('only CPUs and memory can be reserved', '--generic-resource <resource>'),
]

export const refusedByUpdate: readonly OptionDefinition[] = [
  ...both,
  ...refuse(rollback, '--rollback'),
  ...['cap', 'group', 'sysctl', 'ulimit'].flatMap((word) => addAndRemove(container, word)),
  ...['secret', 'config'].flatMap((word) => addAndRemove(files, word)),
  ...addAndRemove(container, 'mount'),
  ...['dns', 'dns-option', 'dns-search', 'host'].flatMap((word) => addAndRemove(resolver, word)),
  ...addAndRemove('only CPUs and memory can be reserved', 'generic-resource'),
]

function addAndRemove(says: string, word: string): readonly OptionDefinition[] {
  return refuse(says, `--${word}-add <value>`, `--${word}-rm <value>`)
}
