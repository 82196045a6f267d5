/** Docker's service flags that are not there yet, each with the sentence that is its answer. */
import type { OptionDefinition } from '../definition.ts'

const rolling =
  'an update replaces slots one after another, each healthy before the next; its order is set by --update-order'
const rollback = 'updates are not rolled back yet; `vine service inspect` shows the previous spec'
const limits = 'limits are not enforced by the process runtime; --reserve-cpu and --reserve-memory steer placement'
const container = 'tasks are processes of the node, not containers'
const files = 'tasks are processes and read the files of their node; pass what is secret or large in a file of its own'
const resolver = 'each task asks its own resolver, the agent; the agent is told by `vine agent --upstream-dns`'
const registry = 'no registry is asked: the image names a program on the PATH of the node'
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
  ...refuse(
    'output goes to log files of the node, read by `vine service logs`',
    '--log-driver <driver>',
    '--log-opt <opt>',
  ),
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
  ...refuse(files, '--secret <secret>', '--config <config>', '--mount <mount>'),
  ...refuse(resolver, '--dns <ip>', '--dns-option <option>', '--dns-search <domain>', '--host <host>'),
  ...refuse('only CPUs and memory can be reserved', '--generic-resource <resource>'),
]

export const refusedByUpdate: readonly OptionDefinition[] = [
  ...both,
  ...refuse(rollback, '--rollback'),
  ...['cap', 'group', 'sysctl', 'ulimit'].flatMap((word) => addAndRemove(container, word)),
  ...['secret', 'config', 'mount'].flatMap((word) => addAndRemove(files, word)),
  ...['dns', 'dns-option', 'dns-search', 'host'].flatMap((word) => addAndRemove(resolver, word)),
  ...addAndRemove('only CPUs and memory can be reserved', 'generic-resource'),
]

function addAndRemove(says: string, word: string): readonly OptionDefinition[] {
  return refuse(says, `--${word}-add <value>`, `--${word}-rm <value>`)
}
