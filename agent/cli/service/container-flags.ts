/** The flags of `service create` and `service update` that only containers have. Docker's words. */
import type { OptionDefinition } from '../definition.ts'
import { addAndRemove } from './add-remove.ts'

const windows = 'it is of Windows, and nodes run Linux'

const shared: readonly OptionDefinition[] = [
  { flags: '--cap-add <cap>', says: 'Add a Linux capability, or ALL', list: true },
  { flags: '--cap-drop <cap>', says: 'Drop a Linux capability, or ALL', list: true },
  {
    flags: '--init',
    says: 'Run an init in each container, which passes signals on and reaps processes',
    deniable: true,
  },
  {
    flags: '--isolation <mode>',
    says: 'Isolation mode',
    choices: ['default'],
    refusedChoices: { process: windows, hyperv: windows },
  },
  { flags: '--limit-cpu <n>', says: 'CPUs that a task may use' },
  { flags: '--limit-memory <bytes>', says: 'Memory that a task may use' },
  { flags: '--limit-pids <n>', says: 'Processes that a task may have (0: no limit)', whole: true },
  { flags: '--log-driver <driver>', says: 'Log driver of the containers' },
  { flags: '--log-opt <opt>', says: 'Option of the log driver, as key=value', list: true },
  { flags: '--oom-score-adj <n>', says: 'Whom the kernel ends first when memory is short (-1000 to 1000)' },
  { flags: '--read-only', says: "Mount the container's root read-only", deniable: true },
  { flags: '-t, --tty', says: 'Allocate a pseudo-terminal', deniable: true },
]

const mountKeys = 'type=bind|volume|tmpfs,source=,target=,readonly and further keys of the type'

const creating: readonly OptionDefinition[] = [
  { flags: '--dns-option <option>', says: 'Option of the resolver, such as ndots:2', list: true },
  { flags: '--dns-search <domain>', says: 'Domain in which short names are looked up', list: true },
  { flags: '--group <group>', says: 'Further group of the user', list: true },
  { flags: '--host <host>', says: 'Line of the hosts file, as name:address', list: true },
  { flags: '--mount <mount>', says: `Mount into each task: ${mountKeys}`, list: true },
  { flags: '--sysctl <option>', says: 'Kernel setting of the container, as key=value', list: true },
  { flags: '--ulimit <limit>', says: 'Limit of a process, such as nofile=1024:2048', list: true },
]

const updating: readonly OptionDefinition[] = [
  ...addAndRemove('dns-option', 'option of the resolver'),
  ...addAndRemove('dns-search', 'search domain'),
  ...addAndRemove('group', 'further group of the user'),
  ...addAndRemove('host', 'line of the hosts file', 'name'),
  ...addAndRemove('mount', 'mount', 'target'),
  ...addAndRemove('sysctl', 'kernel setting', 'key'),
  ...addAndRemove('ulimit', 'limit of a process', 'name'),
]

export const containerCreate = grouped([...shared, ...creating])
export const containerUpdate = grouped([...shared, ...updating])

function grouped(options: readonly OptionDefinition[]): readonly OptionDefinition[] {
  const first = ({ flags }: OptionDefinition) => /--[\w-]+/.exec(flags)?.[0] ?? ''
  return options
    .map((option) => ({ ...option, group: 'Only for containers, on nodes with Docker' }))
    .sort((a, b) => (first(a) < first(b) ? -1 : 1))
}
