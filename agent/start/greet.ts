/**
 * What an agent prints when it is up: five lines, of which the last is to be pasted on the next machine.
 */
export interface Greeting {
  readonly name: string
  readonly node: string
  readonly cluster: string
  readonly listening: readonly string[]
  readonly addresses: readonly string[]
  /** The join command with a first token, of a founder; undefined for all others. */
  readonly join: string | undefined
}

export function greeting(it: Greeting): string {
  return [
    `Node ${it.name} (${it.node.slice(0, 12)})`,
    `Cluster ${it.cluster.slice(0, 12)}, ${it.join === undefined ? 'joined' : 'founded by this node'}`,
    `Members reach it at ${it.listening.join(', ')}`,
    `Published ports answer on ${it.addresses.join(', ')}`,
    it.join === undefined ? 'To let another machine join, see: vine token' : `To join from another machine: ${it.join}`,
    '',
  ].join('\n')
}
