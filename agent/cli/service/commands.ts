/** The words, flags and examples of `vine service …`. Docker's own, as far as there is something to do. */
import type { CommandDefinition, OptionDefinition } from '../definition.ts'
import { inspectOptions, listingOptions } from '../listing.ts'
import { addAndRemove } from './add-remove.ts'
import { containerCreate, containerUpdate } from './container-flags.ts'
import { jobs, refusedByCreate, refusedByUpdate } from './refused.ts'

const filter: OptionDefinition = { flags: '-f, --filter <filter>', says: 'Only what matches, as key=value', list: true }

const waiting: readonly OptionDefinition[] = [
  { flags: '-d, --detach', says: 'Exit immediately instead of waiting for the service to converge' },
  { flags: '-q, --quiet', says: 'Suppress progress output' },
]

const health: readonly OptionDefinition[] = [
  { flags: '--health-cmd <command>', says: 'Command to run to check health' },
  { flags: '--health-interval <time>', says: 'Time between two checks', standard: '30s' },
  { flags: '--health-retries <n>', says: 'Failures in a row that make a task unhealthy (default 3)', whole: true },
  { flags: '--health-start-interval <time>', says: 'Time between two checks during the start period', standard: '5s' },
  { flags: '--health-start-period <time>', says: 'Time in which failures do not count yet', standard: '0s' },
  { flags: '--health-timeout <time>', says: 'Time that one check may take', standard: '30s' },
  { flags: '--no-healthcheck', says: 'No health check' },
]

const shared: readonly OptionDefinition[] = [
  {
    flags: '--endpoint-mode <mode>',
    says: 'What the name resolves to: one address (vip) or all tasks (dnsrr)',
    choices: ['vip', 'dnsrr'],
  },
  { flags: '--entrypoint <command>', says: 'Command to run in place of the image' },
  ...health,
  { flags: '--hostname <name>', says: 'Name of each task; may hold templates such as {{.Task.Slot}}' },
  { flags: '--replicas <n>', says: 'Number of tasks', whole: true },
  { flags: '--replicas-max-per-node <n>', says: 'At most this many tasks on a node (0: no limit)', whole: true },
  { flags: '--reserve-cpu <n>', says: 'CPUs that a node must have free' },
  { flags: '--reserve-memory <bytes>', says: 'Memory that a node must have free' },
  {
    flags: '--restart-condition <condition>',
    says: 'When to replace a task that ended (default any)',
    choices: ['none', 'on-failure', 'any'],
  },
  { flags: '--restart-delay <time>', says: 'Wait before a failed task is replaced', standard: '5s' },
  { flags: '--restart-max-attempts <n>', says: 'Give a slot up after this many failures (0: never)', whole: true },
  { flags: '--restart-window <time>', says: 'Time in which those failures are counted' },
  { flags: '--stop-grace-period <time>', says: 'Time between the stop signal and SIGKILL', standard: '10s' },
  { flags: '--stop-signal <signal>', says: 'Signal that asks a task to stop', standard: 'SIGTERM' },
  {
    flags: '--update-order <order>',
    says: 'Order of an update in each slot (default stop-first)',
    choices: ['stop-first', 'start-first'],
  },
  { flags: '-u, --user <user>', says: 'User (and group) that tasks run as' },
  { flags: '-w, --workdir <path>', says: 'Directory that tasks run in' },
]

const create: CommandDefinition = {
  name: 'create',
  says: 'Create a new service',
  about:
    'Creates a service and waits until its tasks run. On nodes with Docker the image is one of Docker; on others it is the name of a program on their PATH, and a registry, tag or digest in it is dropped. Flags end at the image: what follows is for the program.',
  args: '<image> [command...]',
  passThrough: true,
  options: [
    { flags: '--constraint <constraint>', says: 'Where tasks may run, such as node.labels.zone==a', list: true },
    { flags: '--container-label <label>', says: 'Label of each task', list: true },
    ...waiting,
    {
      flags: '-e, --env <env>',
      says: 'Environment variable, NAME=value; a bare NAME takes its value from here',
      list: true,
    },
    { flags: '--env-file <path>', says: 'File of environment variables', list: true },
    { flags: '-l, --label <label>', says: 'Label of the service', list: true },
    {
      flags: '--mode <mode>',
      says: 'A set number of tasks (replicated) or one on every node (global)',
      choices: ['replicated', 'global'],
      refusedChoices: { 'replicated-job': jobs, 'global-job': jobs },
    },
    { flags: '--name <name>', says: 'Name of the service' },
    { flags: '--network <network>', says: 'Network to join, NAME or name=NAME,alias=ALIAS', list: true },
    {
      flags: '--placement-pref <preference>',
      says: 'Spread tasks over the values of a label: spread=node.labels.zone',
      list: true,
    },
    {
      flags: '-p, --publish <port>',
      says: '[published:]target[/udp], ranges, or published=,target=,protocol=,mode=ingress|host',
      list: true,
    },
    ...shared,
    ...containerCreate,
  ],
  refused: refusedByCreate,
  examples: [
    {
      says: 'Three web servers, reached at port 8080 of every node; PORT tells each where to listen',
      line: `vine service create --name web --replicas 3 --publish 8080:80 node -e 'require("http").createServer((_, r) => r.end("hello\\n")).listen(process.env.PORT)'`,
    },
    {
      says: 'One task on every node, without waiting',
      line: 'vine service create --name watch --mode global --detach sleep 1d',
    },
    {
      says: 'A name for others on a network, and templates in the environment',
      line: 'vine service create --name worker --network name=backend,alias=jobs --env SLOT={{.Task.Slot}} sleep 1d',
    },
    {
      says: 'A container with a volume that outlives it, a root that it cannot write to, and at most half a CPU and 256 MiB',
      line: 'vine service create --name cache --mount type=volume,source=cache,target=/data --mount type=tmpfs,target=/tmp --read-only --limit-cpu 0.5 --limit-memory 256m redis',
      needsDocker: true,
    },
  ],
  load: async () => (await import('./create.ts')).create,
}

const update: CommandDefinition = {
  name: 'update',
  says: 'Update a service',
  about:
    'Changes what the flags name and leaves the rest. Slots whose task must change are replaced one after another, each healthy before the next. When somebody else updated the service in between, the update is refused: run it again.',
  args: '<service>',
  options: [
    { flags: '--args <command>', says: 'Arguments of the program' },
    ...addAndRemove('constraint', 'placement constraint'),
    ...addAndRemove('container-label', 'label of each task', 'key'),
    ...waiting,
    ...addAndRemove('env', 'environment variable', 'name'),
    { flags: '--force', says: 'Replace all tasks even if nothing changed' },
    { flags: '--image <image>', says: 'Program to run' },
    ...addAndRemove('label', 'label of the service', 'key'),
    ...addAndRemove('network', 'network'),
    ...addAndRemove('placement-pref', 'placement preference'),
    { flags: '--publish-add <port>', says: 'Publish a port, or change how it is published', list: true },
    { flags: '--publish-rm <port>', says: 'Withdraw a port by its target port', list: true },
    ...shared,
    ...containerUpdate,
  ],
  refused: refusedByUpdate,
  examples: [
    {
      says: 'Another value in the environment; tasks are replaced one by one',
      line: 'vine service update --env-add GREETING=hello web',
    },
    {
      says: 'Publish the same target at another port',
      line: 'vine service update --publish-rm 80 --publish-add 8081:80 web',
    },
    { says: 'Replace every task', line: 'vine service update --force --detach web' },
    {
      says: 'More memory, and a folder of each node in place of what is mounted at /data',
      line: 'vine service update --limit-memory 512m --mount-add type=bind,source=/srv/data,target=/data web',
      needsDocker: true,
    },
  ],
  load: async () => (await import('./update.ts')).update,
}

export const commands: readonly CommandDefinition[] = [
  create,
  {
    name: 'inspect',
    says: 'Display detailed information on one or more services',
    about: 'Prints what was asked for, what was asked before, ports, and the address on each network.',
    args: '<service...>',
    options: [...inspectOptions, { flags: '--pretty', says: 'Print the information in a human friendly format' }],
    examples: [
      { says: 'For people', line: 'vine service inspect --pretty web' },
      { says: 'One field', line: "vine service inspect --format '{{.Spec.Name}} {{json .Endpoint.Ports}}' web" },
    ],
    load: async () => (await import('./inspect.ts')).inspect,
  },
  {
    name: 'logs',
    says: 'Fetch the logs of a service or task',
    about:
      'Merges the output of the tasks of all nodes. A node that cannot be reached is named in a warning, and the rest is shown.',
    args: '<service|task>',
    options: [
      { flags: '--details', says: 'Show extra details provided to logs' },
      { flags: '-f, --follow', says: 'Follow log output' },
      { flags: '--no-resolve', says: 'Do not map ids to names' },
      { flags: '--no-task-ids', says: 'Do not include task ids' },
      { flags: '--no-trunc', says: 'Do not truncate ids' },
      { flags: '--raw', says: 'Only what the tasks wrote' },
      { flags: '--since <time>', says: 'Only what is newer: 42m, or a time such as 2026-01-02T13:23:37Z' },
      { flags: '-n, --tail <lines>', says: 'Number of lines from the end', standard: 'all' },
      { flags: '-t, --timestamps', says: 'Show timestamps' },
      { flags: '--json', says: 'One JSON object a line' },
    ],
    examples: [
      { says: 'The last lines of every task', line: 'vine service logs --tail 5 web' },
      { says: 'What one task wrote, as it wrote it', line: 'vine service logs --raw --since 10m web' },
    ],
    load: async () => (await import('./logs.ts')).logs,
  },
  {
    name: 'ls',
    aliases: ['list'],
    says: 'List services',
    about: 'Lists services with running and wanted tasks and the ports that every node answers on.',
    options: [filter, ...listingOptions, { flags: '--no-trunc', says: 'Do not truncate output' }],
    examples: [
      { says: 'All services', line: 'vine service ls' },
      {
        says: 'Names and counts of the global ones',
        line: "vine service ls --filter mode=global --format '{{.Name}} {{.Replicas}}'",
      },
    ],
    load: async () => (await import('./ls.ts')).ls,
  },
  {
    name: 'ps',
    says: 'List the tasks of one or more services',
    about:
      'Lists each slot with its task, where it runs, and its past tasks below it. ERROR holds the last line that a failed program wrote, or why no node takes the slot.',
    args: '<service...>',
    options: [
      filter,
      ...listingOptions,
      { flags: '--no-resolve', says: 'Do not map ids to names' },
      { flags: '--no-trunc', says: 'Do not truncate output' },
    ],
    examples: [
      { says: 'All tasks', line: 'vine service ps web' },
      {
        says: 'Only those that should run, errors in full',
        line: 'vine service ps --filter desired-state=running --no-trunc web',
      },
    ],
    load: async () => (await import('./ps.ts')).ps,
  },
  {
    name: 'rm',
    aliases: ['remove'],
    says: 'Remove one or more services',
    about: 'Removes services. Their tasks are drained and stopped; nothing is asked.',
    args: '<service...>',
    options: [],
    examples: [{ says: 'Remove two services', line: 'vine service rm watch worker' }],
    load: async () => (await import('./rm.ts')).rm,
  },
  {
    name: 'scale',
    says: 'Scale one or multiple replicated services',
    about: 'Sets the number of tasks and waits until they run. Tasks that stay are not touched.',
    args: '<service=replicas...>',
    options: [...waiting],
    examples: [{ says: 'Five tasks', line: 'vine service scale web=5' }],
    load: async () => (await import('./scale.ts')).scale,
  },
  update,
]
