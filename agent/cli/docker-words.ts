/** Docker's commands that `vine` has not, and what to do in their place: what a Docker user types first is answered with a way on. */

const container = 'Grapevine runs services, not single containers; see: vine service ls'
const begin =
  'A cluster begins with: vine agent; other machines join it by the command that `vine token` prints, and leave with: vine agent stop'
const later = 'is not supported yet'
const equal = 'All nodes are equal; there are no managers to make'

const instead: Readonly<Record<string, string>> = {
  swarm: begin,
  init: begin,
  join: begin,
  leave: begin,
  'swarm leave': 'A node leaves with: vine agent stop',
  'swarm join-token': 'Print the command that joins another machine with: vine token',
  compose: 'Deploy a Compose file with: vine stack deploy -c compose.yaml STACK',
  deploy: 'Deploy a Compose file with: vine stack deploy -c compose.yaml STACK',
  secret: `A secret ${later}; keep it in a file of the nodes, and pass its path with: vine service create --env`,
  config: `A config ${later}; pass it with: vine service create --env`,
  ps: 'List tasks with: vine service ps SERVICE, or vine node ps',
  tasks: 'List tasks with: vine service ps SERVICE, or vine node ps',
  logs: 'Read them with: vine service logs SERVICE',
  info: 'See: vine status',
  version: 'See: vine --version',
  ...Object.fromEntries(
    ['run', 'exec', 'start', 'stop', 'kill', 'rm', 'container', 'image', 'images', 'pull', 'build', 'volume'].map(
      (word) => [word, container],
    ),
  ),
  'service rollback': 'Undo an update by another one; the previous spec is in: vine service inspect SERVICE',
  'network prune': 'Remove each with: vine network rm NETWORK',
  'network connect': container,
  'network disconnect': container,
  'node promote': equal,
  'node demote': equal,
}

/** For the first words of a command line that named no command. */
export function dockersWay(words: readonly string[]): string | undefined {
  const [first = '', second = ''] = words
  const key = [`${first} ${second}`, first].find((words) => Object.hasOwn(instead, words))
  return key === undefined ? undefined : instead[key]
}
