/**
 * What an agent left in the kernel that nobody accounts for: namespaces, devices, rules and the table, told apart from others' by the agent's mark
 * (names.ts). Looks and removes only when asked; an agent that is killed between two steps is why there is anything.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs'
import type { TaskId } from '../../../protocol/ids.ts'
import { forgetNetworksOf } from './departed.ts'
import { passageRules, removePassageRule } from './docker-user.ts'
import { leadQuestions } from './guests.ts'
import { hasIpv6 } from './ipv6.ts'
import { preferences } from './marks.ts'
import { innerPrefix, linkGroup, namespaceName, wireguardName } from './names.ts'
import { tasksOf } from './task-namespace.ts'
import { batchAll, type Refusal, type Row, run, tableOf } from './tools.ts'

export interface Leftover {
  readonly kind: 'namespace' | 'device' | 'rule' | 'rule of IPv6' | 'route' | 'table' | 'rule of DOCKER-USER'
  /** As `ip netns`, `ip link`, `ip rule`, `ip route` and `nft` know it. */
  readonly name: string
}

/** `kept`: the tasks that a running agent knows; undefined: no agent runs, so that nothing has a reason to be here. */
export async function findLeftovers(mark: string, kept: ReadonlySet<TaskId> | undefined): Promise<readonly Leftover[]> {
  const namespaces = strayNamespaces(mark, new Set([...(kept ?? [])].map((task) => namespaceName(task, mark))))
  const links = await tableOf('ip', ['link', 'show'])
  const devices = strayDevices(links, mark, kept)
  const found: Leftover[] = [
    ...namespaces.map((name) => ({ kind: 'namespace', name }) as const),
    ...devices.map((name) => ({ kind: 'device', name }) as const),
  ]
  if (kept !== undefined) return found
  found.push(...(await passageRules(mark)).map((name) => ({ kind: 'rule of DOCKER-USER', name }) as const))
  if (isShared(links, mark)) return found
  const rules = (await tableOf('ip', ['-4', 'rule', 'show'])).flatMap(ruleOfOurs)
  // A kernel without IPv6 refuses to say.
  const inner = await tableOf('ip', ['-6', 'route', 'show', innerPrefix]).catch(() => [])
  const barred = inner.some(({ type }) => type === 'unreachable')
  const rules6 = hasIpv6() ? (await tableOf('ip', ['-6', 'rule', 'show'])).flatMap(ruleOfOurs) : []
  const table = (await run('nft', ['list', 'tables'])).includes('table inet grapevine\n')
  return [
    ...found,
    ...rules.map((name) => ({ kind: 'rule', name }) as const),
    ...(barred ? [{ kind: 'route', name: `unreachable ${innerPrefix}` } as const] : []),
    ...rules6.map((name) => ({ kind: 'rule of IPv6', name }) as const),
    ...(table ? [{ kind: 'table', name: 'inet grapevine' } as const] : []),
  ]
}

/** Resolves to what the kernel did not let go. */
export async function removeLeftovers(leftovers: readonly Leftover[]): Promise<readonly Refusal[]> {
  const names = (kind: Leftover['kind']) => leftovers.filter((one) => one.kind === kind).map(({ name }) => name)
  // Those of containers that are no tasks go on without us.
  for (const name of names('namespace')) await leadQuestions(`/run/netns/${name}`, undefined)
  const refused6 = await batchAll(
    'ip -6',
    names('rule of IPv6').map((name) => `rule delete ${name}`),
  )
  await forgetNetworksOf(names('device').filter((name) => name.startsWith('vb')))
  const refused = await batchAll('ip', [
    ...names('rule').map((name) => `rule delete ${name}`),
    ...names('device').map((name) => `link delete dev ${name}`),
    ...names('route').map((name) => `route delete ${name}`),
    ...names('namespace').map((name) => `netns delete ${name}`),
  ])
  for (const name of names('rule of DOCKER-USER')) await removePassageRule(name)
  for (const name of names('table')) await run('nft', ['delete', 'table', ...name.split(' ')])
  return [...refused6, ...refused]
}

/** Tasks in whose namespaces any program of this machine runs. */
export async function tasksWithPrograms(mark: string): Promise<ReadonlySet<TaskId>> {
  const names = strayNamespaces(mark, new Set())
  if (names.length === 0) return new Set()
  const used = new Set(
    readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .map(namespaceOf),
  )
  const inUse = new Set(names.filter((name) => used.has(inodeOf(name))))
  const links = await tableOf('ip', ['link', 'show'])
  const tasks = tasksOf(
    links.map(({ ifalias }) => String(ifalias ?? '')),
    mark,
  )
  return new Set([...tasks.keys()].filter((task) => inUse.has(namespaceName(task, mark))))
}

function namespaceOf(pid: string): number | undefined {
  try {
    return Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[0])
  } catch {
    // It ended while we looked.
    return undefined
  }
}

function inodeOf(name: string): number {
  return statSync(`/run/netns/${name}`, { throwIfNoEntry: false })?.ino ?? 0
}

function strayNamespaces(mark: string, kept: ReadonlySet<string>): readonly string[] {
  return readNamespaces().filter((name) => name.startsWith('gv-') && name.endsWith(`-${mark}`) && !kept.has(name))
}

function readNamespaces(): readonly string[] {
  try {
    return readdirSync('/run/netns').sort()
  } catch {
    // Nobody has made a namespace since the machine started.
    return []
  }
}

/** While an agent runs, its networks are its own matter: `apply` removes those that it does not want. */
function strayDevices(links: readonly Row[], mark: string, kept: ReadonlySet<TaskId> | undefined): readonly string[] {
  // Made by wireguard-go, that of encrypted networks has its group only when it is finished.
  const ours = links.filter(({ group, ifname }) => group === String(linkGroup(mark)) || ifname === wireguardName(mark))
  return ours.flatMap(({ ifname, ifalias }) => {
    const name = String(ifname)
    if (kept === undefined) return [name]
    const [task] = tasksOf([String(ifalias ?? '')], mark).keys()
    return name.startsWith('vt') && !kept.has(task ?? '') ? [name] : []
  })
}

/** Whether another agent has devices on this machine: then rules and table are not known to be ours. */
function isShared(links: readonly Row[], mark: string): boolean {
  return links.some(
    ({ ifalias }) => /^grapevine:/.test(String(ifalias ?? '')) && !String(ifalias).startsWith(`grapevine:${mark}`),
  )
}

/** One preference may stand for many rules; each deletion takes one. */
function ruleOfOurs({ priority }: Row): readonly string[] {
  return preferences.includes(Number(priority)) ? [`preference ${Number(priority)}`] : []
}
