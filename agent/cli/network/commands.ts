/** The words, flags and examples of `vine network …`. */
import type { CommandDefinition, OptionDefinition } from '../definition.ts'
import { inspectOptions, listingOptions } from '../listing.ts'

const refused: readonly OptionDefinition[] = [
  { flags: '--config-from <network>', says: 'a network is described whole when it is created' },
  { flags: '--config-only', says: 'a network is described whole when it is created' },
  { flags: '--ipam-driver <driver>', says: 'addresses are claimed by the agents themselves' },
  { flags: '--ipam-opt <option>', says: 'addresses are claimed by the agents themselves' },
  { flags: '--ingress', says: 'published ports need no network of their own' },
]

const refusedOfConnect: readonly OptionDefinition[] = [
  { flags: '--driver-opt <option>', says: 'connections have no options' },
  { flags: '--gw-priority <number>', says: 'a container keeps its own way out' },
  { flags: '--ip <address>', says: 'addresses are claimed by the agents themselves' },
  { flags: '--ip6 <address>', says: 'containers that are no tasks have no IPv6 on networks of the cluster' },
  { flags: '--link <container>', says: 'names are found by all on a network' },
  { flags: '--link-local-ip <address>', says: 'addresses are claimed by the agents themselves' },
]

export const commands: readonly CommandDefinition[] = [
  {
    name: 'connect',
    says: 'Connect a container to a network',
    about:
      'Connects a running container of this machine, one that is no task, to a network that was created with --attachable. It finds services by name, and is found by its own, by its aliases and by the start of its id. The connection stays until the container is removed: whenever it runs again, it is connected again. This node needs the linux data plane.',
    args: '<network> <container>',
    options: [{ flags: '--alias <name>', says: 'Another name of the container on this network', list: true }],
    refused: refusedOfConnect,
    examples: [
      {
        says: 'A container of this machine, reached by tasks as cache too',
        line: 'vine network connect --alias cache backend redis',
      },
    ],
    load: async () => (await import('./connect.ts')).connect,
  },
  {
    name: 'create',
    says: 'Create a network',
    about:
      'Creates a network that every node knows at once. Names of services resolve only among tasks that share a network.',
    args: '<network>',
    options: [
      { flags: '--attachable', says: 'Single containers may be connected too' },
      { flags: '--aux-address <name=address>', says: 'Address that no task gets', list: true },
      { flags: '-d, --driver <driver>', says: 'Driver (default overlay)', choices: ['overlay'] },
      { flags: '--gateway <address>', says: 'Gateway of the subnet', list: true },
      { flags: '--internal', says: 'No names from outside are resolved' },
      { flags: '--ip-range <cidr>', says: 'Part of the subnet that tasks get addresses from', list: true },
      { flags: '--ipv6', says: 'IPv6 addresses beside IPv4, for tasks on nodes with the linux data plane' },
      { flags: '--label <label>', says: 'Label of the network', list: true },
      { flags: '-o, --opt <option>', says: 'Option of the driver', list: true },
      { flags: '--scope <scope>', says: 'Scope (default swarm)', choices: ['swarm'] },
      {
        flags: '--subnet <cidr>',
        says: 'Subnet in CIDR form, one of IPv4 and one of IPv6; without it a free /24 is taken',
        list: true,
      },
    ],
    refused,
    examples: [
      { says: 'A network for a back end', line: 'vine network create backend' },
      {
        says: 'With a subnet of your own, and no way out',
        line: 'vine network create --subnet 10.77.0.0/16 --internal vault',
      },
      {
        says: 'IPv6 too, with a subnet of your own for each',
        line: 'vine network create --ipv6 --subnet 10.78.0.0/16 --subnet fd78:0:0:1::/64 dual',
      },
    ],
    load: async () => (await import('./create.ts')).create,
  },
  {
    name: 'disconnect',
    says: 'Disconnect a container from a network',
    about: 'Takes a container of this machine off a network: its names and its address there are gone at once.',
    args: '<network> <container>',
    options: [{ flags: '-f, --force', says: 'Do not fail if it is not connected' }],
    examples: [{ says: 'Take it off', line: 'vine network disconnect backend redis' }],
    load: async () => (await import('./connect.ts')).disconnect,
  },
  {
    name: 'inspect',
    says: 'Display detailed information on one or more networks',
    about:
      'Prints networks. --verbose adds what this node holds of each: services, addresses, tasks. A node without a task on a network holds none of it.',
    args: '<network...>',
    options: [
      ...inspectOptions,
      { flags: '-v, --verbose', says: 'Also what this node knows of its services and tasks' },
    ],
    examples: [
      { says: 'One field', line: "vine network inspect --format '{{range .IPAM.Config}}{{.Subnet}}{{end}}' backend" },
      { says: 'What this node holds', line: 'vine network inspect --verbose backend' },
    ],
    load: async () => (await import('./inspect.ts')).inspect,
  },
  {
    name: 'ls',
    aliases: ['list'],
    says: 'List networks',
    about: 'Lists the networks of the cluster.',
    options: [
      { flags: '-f, --filter <filter>', says: 'Only what matches, as key=value', list: true },
      ...listingOptions,
      { flags: '--no-trunc', says: 'Do not truncate output' },
    ],
    examples: [
      { says: 'All networks', line: 'vine network ls' },
      { says: 'Names only', line: "vine network ls --filter driver=overlay --format '{{.Name}}'" },
    ],
    load: async () => (await import('./ls.ts')).ls,
  },
  {
    name: 'rm',
    aliases: ['remove'],
    says: 'Remove one or more networks',
    about: 'Removes networks that no service uses and no running container is connected to.',
    args: '<network...>',
    options: [{ flags: '-f, --force', says: 'Do not fail if the network is not there' }],
    examples: [{ says: 'Remove a network', line: 'vine network rm vault' }],
    load: async () => (await import('./rm.ts')).rm,
  },
]
