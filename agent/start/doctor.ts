/**
 * What only the running agent can find out about its own health, as sentences with a remedy: for `vine doctor`.
 */
import { readFileSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import type { Finding } from '../api/context.ts'
import type { AgentConfig } from '../config.ts'
import { nodeName } from '../core/live.ts'
import type { Node } from '../node.ts'
import type { Mesh, Runtime } from '../world.ts'
import type { Kernel } from './leftovers.ts'
import type { OpenedLinux, Wireguard } from './linux.ts'

export interface DoctorOptions {
  readonly config: AgentConfig
  readonly node: Node
  readonly mesh: Mesh
  readonly runtime: Runtime
  /** Port on which task resolvers answer. */
  readonly dnsPort: number
  readonly kernel: Kernel
  /** With the linux data plane. */
  readonly wireguard: Wireguard | undefined
  readonly passage: OpenedLinux['passage'] | undefined
}

/** 512 MB: logs of 25 tasks at their cap. */
const freeBytesMin = 512 * 1024 * 1024
/** Two descriptors a flow, and 5,000 flows held with room for everything else. */
const filesMin = 12_000
/** 5 s: by then a dial that nobody answers has been given up (mesh/dial.ts); `vine doctor` is waited for. */
const meshMs = 5_000
/** The API refuses writes beyond 10 s; a tenth of it is worth a word. */
const clockOffsetMaxMs = 1_000

export async function doctor(options: DoctorOptions): Promise<readonly Finding[]> {
  return [
    published(options),
    ...networks(options),
    await meshPorts(options),
    fileLimit(),
    dnsPort(options),
    await disk(options),
    clock(options),
    ...passing(options),
    ...(await encryption(options)),
    await leftovers(options),
    ...ipv6(options),
  ]
}

function published({ node }: DoctorOptions): Finding {
  const problems = node.routes.problems().filter(({ port }) => port !== 0)
  if (problems.length === 0) return { check: 'ports', ok: true, sentence: 'every published port listens' }
  const sentence = problems.map((problem) => problem.sentence).join('; ')
  return { check: 'ports', ok: false, sentence, fix: 'End the other program, or publish another port' }
}

/** Of the linux data plane only: elsewhere there is nothing of a network that could not be made. */
function networks({ node: { view, routes } }: DoctorOptions): readonly Finding[] {
  if (view.members.get(view.self)?.record.value.dataplane !== 'linux') return []
  const problems = routes.problems().filter(({ port }) => port === 0)
  if (problems.length === 0) return [{ check: 'networks', ok: true, sentence: 'all that have tasks here are whole' }]
  const sentence = [...new Set(problems.map((problem) => problem.sentence))].join('; ')
  return [{ check: 'networks', ok: false, sentence, fix: 'Mend that; tasks that need it try again within 5 min' }]
}

/** A firewall that lets the control plane through and not the mesh beside it leaves a member alive and its tasks out of reach. */
async function meshPorts({ node: { view }, mesh }: DoctorOptions): Promise<Finding> {
  const others = [...view.members.values()].filter(({ id, liveness }) => id !== view.self && liveness === 'alive')
  const unreached = new Set(
    await mesh.unreached(
      others.map(({ id }) => id),
      meshMs,
    ),
  )
  const silent = others.flatMap(({ id, record }) => {
    const [place] = record.value.mesh
    return place === undefined || !unreached.has(id) ? [] : [{ name: nodeName(view, id), ...place }]
  })
  const [first] = silent
  if (first === undefined) return { check: 'mesh', ok: true, sentence: 'every member that is up takes connections' }
  const places = silent.map(({ name, host, port }) => `${name} at ${host}:${port}`).join(', ')
  return {
    check: 'mesh',
    ok: false,
    sentence: `no connection for tasks and logs can be opened to ${places}`,
    fix: `Open TCP port ${first.port} on ${first.name}`,
  }
}

function fileLimit(): Finding {
  const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '0'
  const limit = line === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line)
  if (limit >= filesMin) return { check: 'file limit', ok: true, sentence: `${line} open files are allowed` }
  return {
    check: 'file limit',
    ok: false,
    sentence: `${line} open files allow about ${Math.floor(limit / 2)} connections at once`,
    fix: `Start the agent with a higher limit: ulimit -n ${filesMin}`,
  }
}

function dnsPort({ dnsPort: port, config }: DoctorOptions): Finding {
  if (port === 53 || config.dns.ports[0] === port) {
    return { check: 'DNS port', ok: true, sentence: `resolvers of tasks answer on port ${port}` }
  }
  return {
    check: 'DNS port',
    ok: false,
    sentence: `resolvers of tasks answer on port ${port}, since port 53 may not be bound`,
    fix: 'Run the agent as root or with CAP_NET_BIND_SERVICE if programs must find port 53',
  }
}

async function disk({ config, node }: DoctorOptions): Promise<Finding> {
  const failing = node.view.journalFailing()
  if (failing !== undefined)
    return { check: 'disk', ok: false, sentence: failing, fix: `Free space in ${config.node.dataDir}` }
  const { bavail, bsize } = await statfs(config.node.dataDir)
  const free = bavail * bsize
  const text = `${Math.round(free / 1024 / 1024)} MB are free in ${config.node.dataDir}`
  if (free >= freeBytesMin) return { check: 'disk', ok: true, sentence: text }
  return { check: 'disk', ok: false, sentence: text, fix: 'Free space: without it nothing new is accepted here' }
}

function clock({ node }: DoctorOptions): Finding {
  const offsetMs = node.view.clockOffsetMs()
  if (Math.abs(offsetMs) <= clockOffsetMaxMs) {
    return { check: 'clock', ok: true, sentence: `the clock is ${Math.abs(Math.round(offsetMs))} ms off cluster time` }
  }
  const side = offsetMs > 0 ? 'behind' : 'ahead of'
  return {
    check: 'clock',
    ok: false,
    sentence: `the clock is ${(Math.abs(offsetMs) / 1000).toFixed(1)} s ${side} the cluster`,
    fix: 'Set it by NTP: beyond 10 s this node refuses changes, beyond 60 s the others refuse its records',
  }
}

/** Of the linux data plane: its packets pass the firewall of whoever else is on this machine, Docker above all. */
function passing({ passage }: DoctorOptions): readonly Finding[] {
  if (passage === undefined) return []
  const lack = passage.lack()
  if (lack === undefined) return [{ check: 'firewall', ok: true, sentence: 'packets of tasks may be forwarded' }]
  const fix = 'Let them pass: iptables -I FORWARD -i vb+ -j ACCEPT; iptables -I FORWARD -o vb+ -j ACCEPT'
  return [{ check: 'firewall', ok: false, sentence: `packets of tasks may be dropped: ${lack}`, fix }]
}

/** A node without any task of an encrypted network may lack it: that is worth a word and no fix. */
async function encryption({ node: { view }, wireguard }: DoctorOptions): Promise<readonly Finding[]> {
  if (wireguard === undefined) return []
  const lack = await wireguard.lack()
  const sentence =
    lack === undefined
      ? `encrypted networks use UDP port ${wireguard.port}, which must be open between nodes`
      : `encrypted networks cannot be on this node: ${lack}`
  const isAsked = [...view.networks.values()].some(({ value }) => value.spec.Options?.encrypted !== undefined)
  if (lack === undefined || !isAsked) return [{ check: 'encryption', ok: true, sentence }]
  return [
    {
      check: 'encryption',
      ok: false,
      sentence,
      fix: 'Mend that; until then tasks of such networks run on other nodes',
    },
  ]
}

/** Of the linux data plane only: elsewhere tasks have no IPv6 by nature. */
function ipv6({ node: { view } }: DoctorOptions): readonly Finding[] {
  const { dataplane, noIpv6 } = view.members.get(view.self)?.record.value ?? {}
  if (dataplane !== 'linux') return []
  if (noIpv6 === undefined) return [{ check: 'IPv6', ok: true, sentence: 'tasks have it on networks with --ipv6' }]
  const fix = 'Turn it on and restart the agent, or leave --ipv6 out of networks'
  return [{ check: 'IPv6', ok: false, sentence: `tasks have none: ${noIpv6}`, fix }]
}

async function leftovers({ node, runtime, kernel }: DoctorOptions): Promise<Finding> {
  const inKernel = await kernel.leftovers()
  if (inKernel.length > 0) {
    const sentence = `the kernel holds what no task needs: ${inKernel.join(', ')}`
    return { check: 'leftovers', ok: false, sentence, fix: 'vine doctor --clean' }
  }
  const known = new Set(node.reconcile.tasks().map(({ task }) => task))
  const stray = (await runtime.list()).filter((task) => task.running && !known.has(task.task))
  if (stray.length === 0) return { check: 'leftovers', ok: true, sentence: 'no process runs that no service asks for' }
  const pids = stray.map((task) => task.pid).join(', ')
  return {
    check: 'leftovers',
    ok: false,
    sentence: `processes of former tasks still run: ${pids}`,
    fix: `kill ${pids}`,
  }
}
