// Tells in ten lines what came before a broken promise: who died, who thought what, which promise, how to see it again.
import type { Breach } from './checkers/checker.ts'
import type { Cluster } from './cluster.ts'
import { machineOf } from './truth.ts'
import type { Machine } from './world/machine.ts'
import type { Told } from './world/world.ts'

const linesMax = 10

export function story(cluster: Cluster, breach: Breach, replay: string): string {
  const { world } = cluster
  const head = [
    `Broken: ${breach.promise}.`,
    `Seen at ${clock(world.time.now())}: ${breach.seen}.`,
    `Nodes: ${states(cluster)}`,
  ]
  const foot = [`Who thinks what: ${beliefs(cluster, breach.machines)}`, `Replay: ${replay}`]
  const room = linesMax - head.length - foot.length
  return [...head, ...moments(world.chronicle, breach.machines, room), ...foot].join('\n')
}

function states(cluster: Cluster): string {
  const groups = new Map<string, string[]>()
  for (const machine of cluster.machines) {
    const agent = cluster.agentOn(machine)
    const word = !machine.isOn() ? 'off' : agent === undefined ? 'no agent' : agent.process.state()
    groups.set(word, [...(groups.get(word) ?? []), machine.name])
  }
  return [...groups]
    .map(([word, names]) => `${names.length > 8 ? `${names.length} nodes` : names.join(' ')} ${word}`)
    .join('; ')
}

/** The last faults first of all, then the last words of those concerned; in the order of time. */
function moments(chronicle: readonly Told[], machines: readonly Machine[], room: number): readonly string[] {
  const faults = chronicle.filter(({ what }) => what.is === 'fault')
  const concerned = faults.filter(({ what }) => what.is === 'fault' && what.machines.some((m) => machines.includes(m)))
  const chosen = new Set([...faults.slice(-2), ...concerned.slice(-2)])
  for (const told of [...chronicle].reverse()) {
    if (chosen.size >= room) break
    if (concerns(told, machines)) chosen.add(told)
  }
  return [...chosen]
    .sort((a, b) => a.atMs - b.atMs)
    .slice(-room)
    .map(line)
}

function concerns({ what }: Told, machines: readonly Machine[]): boolean {
  if (what.is === 'fault' || what.is === 'made') return false
  if (machines.length > 0 && !machines.includes(what.agent.machine)) return false
  return what.is !== 'event' || what.event.type !== 'task'
}

function line({ atMs, what }: Told): string {
  const at = clock(atMs)
  if (what.is === 'fault') return `${at} ${what.sentence}`
  const { name } = what.agent.machine
  if (what.is === 'event') return `${at} ${name}: ${what.event.sentence}`
  if (what.is === 'error') return `${at} ${name} logs: ${what.message} ${JSON.stringify(what.fields).slice(0, 100)}`
  if (what.is === 'work') return `${at} asked of ${name}: ${what.sentence}`
  if (what.is === 'started' || what.is === 'signalled' || what.is === 'ended')
    return `${at} ${name}: ${what.program.plan.name} ${what.is}`
  if (what.is === 'gave up') return `${at} ${name} ends for good: ${what.why}`
  if (what.is === 'met its double') return `${at} ${name} meets its double${what.yields ? ' and gives way' : ''}`
  return `${at} ${name} ${what.is === 'made' ? 'comes up' : 'takes part'}`
}

/** Of those concerned and one more: whom they do not hold for alive. */
function beliefs(cluster: Cluster, machines: readonly Machine[]): string {
  const witnesses = cluster.taking().filter(({ machine }) => machines.includes(machine))
  const others = cluster.taking().filter(({ machine }) => !machines.includes(machine))
  const thoughts = [...witnesses.slice(0, 3), ...others.slice(0, 1)].map((agent) => {
    const doubted = [...agent.node!.view.members.values()].filter(({ liveness }) => liveness !== 'alive')
    const words = doubted.map(({ id, liveness }) => `${machineOf(cluster, id)?.name ?? id.slice(0, 6)} ${liveness}`)
    return `${agent.machine.name}: ${words.length === 0 ? 'all alive' : words.slice(0, 6).join(', ')}`
  })
  return thoughts.length === 0 ? 'nobody runs' : thoughts.join('; ')
}

/** Minutes, seconds and ms of virtual time. */
function clock(ms: number): string {
  const minutes = Math.floor(ms / 60_000)
  return `${minutes}:${((ms % 60_000) / 1000).toFixed(3).padStart(6, '0')}`
}
