/** The commands directly below `vine`, with their words, flags and examples. Groups are in groups.ts. */
import type { CommandDefinition, OptionDefinition } from './definition.ts'

const json: OptionDefinition = { flags: '--json', says: 'Print JSON, with ids and ISO times' }

const agentFlags: readonly OptionDefinition[] = [
  {
    flags: '--listen <multiaddr>',
    says: 'Where members reach this agent; the mesh takes the next port',
    standard: '/ip4/0.0.0.0/tcp/7766',
    list: true,
  },
  {
    flags: '--address <ip>',
    says: 'Published ports answer and tasks are reached here',
    standard: 'the default route and 127.0.0.1',
    list: true,
  },
  { flags: '--advertise <host>', says: 'Host told to members (default the first global address)', list: true },
  {
    flags: '--data-dir <path>',
    says: 'Keys, journal, tasks and logs',
    standard: '/var/lib/grapevine, or $XDG_STATE_HOME/grapevine',
  },
  { flags: '--join <multiaddr>', says: 'Member to join through; /p2p/<id> may be left out', list: true },
  { flags: '--token <token>', says: 'Token that `vine token` printed' },
  { flags: '--name <name>', says: 'Name of this node (default the host name)' },
  { flags: '--label <key=value>', says: 'Label of this node, engine.labels.key in constraints', list: true },
  { flags: '--upstream-dns <ip>', says: 'Server for all other names (default those of /etc/resolv.conf)', list: true },
  { flags: '--dns-port <port>', says: 'Port of the resolver', standard: '53, else 10053' },
  { flags: '--api <address>', says: 'Answer the API here too, such as 192.0.2.1:2376; needs the three files of TLS' },
  { flags: '--tls-ca <path>', says: 'Authority that signs the certificates of the API clients (PEM)' },
  { flags: '--tls-cert <path>', says: 'Certificate that the API shows them' },
  { flags: '--tls-key <path>', says: 'Key of that certificate' },
  { flags: '--metrics <address>', says: 'Answer Prometheus here too, such as 127.0.0.1:9090' },
  {
    flags: '--dataplane <kind>',
    says: 'Who forwards: the kernel (linux; needs root), the agent (userspace), or the kernel where it can (default auto)',
    choices: ['auto', 'linux', 'userspace'],
  },
  { flags: '--data-path-port <port>', says: 'UDP port of the networks between linux nodes (VXLAN)', standard: '4789' },
  {
    flags: '--wireguard-port <port>',
    says: 'UDP port for encrypted networks of the linux data plane',
    standard: '51820',
  },
  {
    flags: '--runtime <kind>',
    says: 'What tasks are: containers (docker), processes (process), or containers where Docker answers (default auto)',
    choices: ['auto', 'docker', 'process'],
  },
  {
    flags: '--docker-socket <path>',
    says: "This machine's Docker, which runs containers and answers for them; none: no Docker",
    standard: 'that of DOCKER_HOST, else /var/run/docker.sock',
  },
  { flags: '--preset <preset>', says: 'All times together (default lan)', choices: ['local', 'lan', 'wan'] },
  { flags: '--log-level <level>', says: 'What is logged (default info)', choices: ['debug', 'info', 'warn', 'error'] },
  {
    flags: '--config <path>',
    says: 'YAML file with the same names as these flags',
    standard: '/etc/grapevine/agent.yaml',
  },
]

export const commands: readonly CommandDefinition[] = [
  {
    name: 'agent',
    says: 'Run the agent of this machine, or stop it',
    about:
      'Runs the agent in the foreground. Without --join it founds a cluster, or comes back to the one in its data directory. Every flag may be set in the environment (GRAPEVINE_DATA_DIR for --data-dir) and in a YAML file; flags win over the environment, the environment over the file. With --api it answers over TCP too, to whoever has a certificate of --tls-ca, who may do everything then. `vine agent stop` ends the agent that answers at the socket: it drains and leaves, or with --keep-tasks says that it is back soon and leaves its tasks running.',
    args: '[stop]',
    options: [
      ...agentFlags,
      { flags: '--keep-tasks', says: 'With stop: leave the tasks running; the agent will be back' },
    ],
    examples: [
      { says: 'Found a cluster; it prints the command for the other machines', line: 'vine agent' },
      { says: 'Join one', line: 'vine agent --join /ip4/192.0.2.1/tcp/7766 --token VINE-…' },
      {
        says: 'A second agent on one machine',
        line: 'vine agent --name n2 --address 127.0.0.2 --listen /ip4/127.0.0.1/tcp/7866 --data-dir /tmp/n2 --socket /tmp/n2.sock',
      },
      { says: 'Restart it without touching its tasks', line: 'vine agent stop --keep-tasks' },
    ],
    load: async () => async (call) => {
      const isStop = call.args[0] !== undefined
      return isStop ? (await import('./agent/stop.ts')).stop(call) : (await import('./agent/start.ts')).start(call)
    },
  },
  {
    name: 'token',
    says: 'Print the command that joins another machine',
    about:
      'Makes a new token and prints the join command with it. Any member admits by it until it expires; who joined stays when it does.',
    options: [
      { flags: '--ttl <time>', says: 'How long it admits, such as 1h (default for ever)' },
      { flags: '--rotate', says: 'End every token there is before making the new one' },
      { flags: '-q, --quiet', says: 'The token alone' },
      json,
    ],
    examples: [
      { says: 'A token for the next hour', line: 'vine token --ttl 1h' },
      { says: 'For a script', line: 'vine token --quiet' },
    ],
    load: async () => (await import('./cluster/token.ts')).token,
  },
  {
    name: 'status',
    says: 'Tell whether all is well',
    about:
      'One line when all is well. Otherwise a sentence for each node, service or name that is not, and what to do. Exit code 0: well, 1: not, 2: no agent answers.',
    options: [json],
    examples: [{ says: 'Is it well?', line: 'vine status' }],
    load: async () => (await import('./cluster/status.ts')).status,
  },
  {
    name: 'top',
    says: 'Watch nodes, services and traffic',
    about:
      'A screen that keeps itself up to date: the verdict of `vine status`, nodes, services, connections and bytes a second, and what changed in the last minute. q quits, ? shows the keys.',
    options: [{ flags: '--once', says: 'Print one picture and exit, as is done where nobody looks' }],
    examples: [{ says: 'One picture', line: 'vine top --once' }],
    load: async () => (await import('./top/run.ts')).top,
  },
  {
    name: 'events',
    says: 'Tell what happens, with cause and observer',
    about: 'Prints what this node saw happen, and goes on as things happen. With --until it ends there.',
    options: [
      { flags: '-f, --filter <filter>', says: 'Only what matches: type=node, service=web', list: true },
      { flags: '--since <time>', says: 'Begin this long ago (42m) or at a time' },
      { flags: '--until <time>', says: 'End there; `now` prints the past only' },
      { flags: '--format <format>', says: "'json' or a template with field paths" },
      { ...json, says: 'One JSON object a line' },
    ],
    examples: [{ says: 'The last ten minutes', line: 'vine events --since 10m --until now' }],
    load: async () => (await import('./cluster/events.ts')).events,
  },
  {
    name: 'resolve',
    says: 'Ask for a name as a task would',
    about:
      'Asks the resolver of a task, on whichever node it runs. An address is asked for its name (PTR). Exit code 0: an answer, 2: no such name or no data, 1: an error.',
    args: '<name> [type]',
    options: [{ flags: '--from <task>', says: 'Task that asks: web.1, or its id' }, json],
    examples: [
      {
        says: 'Which tasks serve worker, as its own first task sees it?',
        line: 'vine resolve tasks.worker --from worker.1',
      },
      { says: 'Another type, of an alias', line: 'vine resolve jobs A --from worker.1' },
    ],
    load: async () => (await import('./cluster/resolve.ts')).resolve,
  },
  {
    name: 'why',
    says: 'Tell where each task runs and why there',
    about: 'A line for each slot of a service: where it runs and why there, or why nowhere.',
    args: '<service>',
    options: [json],
    examples: [{ says: 'Why there?', line: 'vine why web' }],
    load: async () => (await import('./cluster/why.ts')).why,
  },
  {
    name: 'doctor',
    says: 'Look for what keeps an agent from working here',
    about:
      'Checks ports, file limit, DNS port, disk, clock and leftovers: ok, or a sentence and a fix for each. It works without an agent too, and changes nothing but with --clean.',
    options: [
      { flags: '--clean', says: 'Remove what an agent left in the kernel: namespaces, devices, rules, its table' },
      json,
    ],
    examples: [{ says: 'Look', line: 'vine doctor' }],
    load: async () => (await import('./doctor/run.ts')).doctor,
  },
  {
    name: 'import',
    says: 'Take over the services and networks of a Swarm',
    about:
      'Reads the services and networks of a Docker Swarm over its API, prints what would be created here, what is here already, what differs and what cannot be, and asks before it creates anything. The Swarm is left as it is. Run again, it creates what is missing.',
    options: [
      { flags: '--from-swarm', says: 'Read a Docker Swarm' },
      {
        flags: '--host <host>',
        says: 'A manager of it, unix://path or tcp://host:port with certificates',
        standard: 'DOCKER_HOST, else unix:///var/run/docker.sock',
      },
      { flags: '--dry-run', says: 'Print the plan and end' },
      { flags: '-y, --yes', says: 'Do not ask' },
    ],
    examples: [
      { says: 'What would be done?', line: 'vine import --from-swarm --dry-run' },
      { says: 'Do it', line: 'vine import --from-swarm --yes' },
    ],
    load: async () => (await import('./import/run.ts')).importSwarm,
  },
  {
    name: 'demo',
    says: 'See three agents lose one of them',
    about:
      'Starts three agents on this machine with a web service on them, asks all of them all the time, kills one with its tasks, and shows as a timeline what the others did, in milliseconds. On a terminal keys start further faults and q ends it; it leaves nothing behind.',
    options: [
      { flags: '--once', says: 'Play the script once and end' },
      { ...json, says: 'End with one line of JSON' },
    ],
    examples: [{ says: 'The script, for a machine to read', line: 'vine demo --once --json' }],
    load: async () => (await import('../demo/run.ts')).demo,
  },
  {
    name: 'completion',
    says: 'Print the completion script of a shell',
    about:
      'Prints a script that completes commands, flags, and the names of services, networks, nodes and tasks. In zsh, compinit comes before it.',
    args: '<shell>',
    options: [],
    examples: [
      { says: 'For this bash', line: 'source <(vine completion bash)' },
      { says: 'For fish, for good', line: 'vine completion fish > ~/.config/fish/completions/vine.fish' },
    ],
    load: async () => (await import('./completion/scripts.ts')).completion,
  },
]
