/**
 * Two agents with a service on both, of which the first is attacked, and what must still hold afterwards.
 *
 * Unharmed: the same process with the same tasks serves good clients on every socket, is as small as before, told no error of its own, and
 * nothing of what was thrown at it has reached the other agent.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import dnsPacket from 'dns-packet'
import { expect } from 'vitest'
import { fuzzSeed, mark } from '../fuzz.ts'
import { until } from '../until.ts'
import { ask, type RunningTask, runs, webProgram } from './clients.ts'
import { type Agent, type Cluster, openCluster, see, tokenOf } from './cluster.ts'
import { heldMb } from './collected.ts'

export interface Victims {
  readonly cluster: Cluster<2>
  readonly attacked: Agent
  readonly other: Agent
  readonly tasks: readonly RunningTask[]
  /** Resolver of the task on the attacked node. */
  readonly resolver: { readonly host: string; readonly port: number }
  /** Fails with the words of the attacked agent unless everything is as it was. */
  unharmed(campaign: string): Promise<void>
}

/** An idle agent has 160 MB at most. One that was busy keeps pages that the kernel was not given back: 360 MB was the most seen. */
const residentMbMax = 512
/**
 * What may have come to be held since before, after a forced collection. The whole heap was 55 MB halfway through 100,000 inputs: with it code that ran
 * for the first time, and gossipsub's two minutes of message ids. 1 KB kept of each of 100,000 inputs would be 100 MB.
 */
const grownMbMax = 80
/** Descriptors that come and go with probes and syncs. */
const spareDescriptors = 40

export async function openVictims(): Promise<Victims> {
  const cluster = await openCluster({ nodes: 2, started: false })
  const [attacked, other] = cluster.agents
  // The preset of a network: three processes that throw and catch as fast as they can starve one another, which is not what is tested.
  const args = ['--preset', 'lan']
  await attacked.start({ args })
  await other.start({ args, join: [attacked], token: await tokenOf(attacked) })
  await see(cluster.agents, cluster.agents)
  await attacked.ok('network', 'create', 'app')
  const what = ['--name', 'web', '--replicas', '2', '--network', 'app', '--publish', '8080:80']
  await attacked.ok('service', 'create', '--detach', '--quiet', ...what, 'node', '-e', webProgram)
  const tasks = await runs(cluster.agents, 'web', 2)
  const resolver = resolverOf(tasks.find(({ node }) => node === attacked.name)?.pid ?? 0)
  await until(() => answersTcp(resolver), { deadlineMs: 10_000, what: 'the resolver to answer' })
  const before = { descriptors: descriptorsOf(attacked.pid), state: await stateOf(other), held: await held() }

  function held(): Promise<readonly number[]> {
    return Promise.all(cluster.agents.map(heldMb))
  }

  async function unharmed(campaign: string): Promise<void> {
    const replay = `${campaign}; replay with VINE_FUZZ_SEED=${fuzzSeed}\n${attacked.said().slice(-2_000)}`
    expect(attacked.isRunning() && other.isRunning(), replay).toBe(true)
    await see(cluster.agents, cluster.agents)
    expect(await runs(cluster.agents, 'web', 2), replay).toEqual(tasks)
    for (const { address } of cluster.agents)
      await until(async () => /^n[12] /.test(await ask(address, 8080)), {
        deadlineMs: 15_000,
        what: `${address} to serve`,
      })
    await until(() => answersTcp(resolver), { deadlineMs: 15_000, what: 'the resolver to answer over TCP' })
    expect(attacked.said(), replay).not.toMatch(/"level":"error"/)
    expect(other.said(), replay).not.toMatch(/"level":"error"/)
    expect(await stateOf(other), replay).toEqual(before.state)
    expect(await stateOf(attacked), replay).toEqual(before.state)
    await until(() => residentMb(attacked.pid) < residentMbMax && residentMb(other.pid) < residentMbMax, {
      deadlineMs: 10_000,
      what: `the agents to be small again after ${campaign}`,
    })
    const grown = (await held()).map((mb, i) => Math.round(mb - (before.held[i] ?? 0)))
    expect(
      Math.max(...grown),
      `MB that ${cluster.agents.map(({ name }) => name)} came to hold: ${grown}; ${replay}`,
    ).toBeLessThan(grownMbMax)
    await until(() => descriptorsOf(attacked.pid) <= before.descriptors + spareDescriptors, {
      deadlineMs: 30_000,
      what: `the descriptors of ${campaign} to be closed`,
    })
  }

  return { cluster, attacked, other, tasks, resolver, unharmed }
}

/** What an agent serves of the replicated state: everything that users made. */
async function stateOf({ client }: Agent): Promise<unknown> {
  interface Made {
    readonly ID?: string
    readonly Id?: string
    readonly ServiceID?: string
    readonly Version?: unknown
    readonly Spec?: unknown
  }
  const [services, networks, tasks] = await Promise.all(
    ['/services', '/networks', '/tasks'].map((path) => client.get<readonly Made[]>(path)),
  )
  return {
    services: services?.map(({ ID, Version, Spec }) => ({ ID, Version, Spec })),
    networks: networks?.map(({ Id }) => Id).sort(),
    // Which run is asked elsewhere; ended ones of a busy machine are no harm.
    ofTasks: [...new Set(tasks?.map(({ ServiceID }) => ServiceID))].sort(),
  }
}

/** How often an agent counted something of these kinds as dropped. */
export async function droppedBy({ client }: Agent, kinds: RegExp): Promise<number> {
  const text = await client.get<string>('/grapevine/metrics')
  let sum = 0
  for (const [, kind = '', value] of text.matchAll(/^grapevine_records_dropped_total\{kind="([^"]+)"\} (\d+)/gm)) {
    if (kinds.test(kind)) sum += Number(value)
  }
  return sum
}

/** Whether anything that was invented is reachable in the memory of an agent. */
export async function remembers(agent: Agent): Promise<boolean> {
  return (await agent.heap()).includes(mark)
}

export function question(id: number, name = 'tasks.web'): Buffer {
  return Buffer.from(
    dnsPacket.encode({ type: 'query', id, flags: dnsPacket.RECURSION_DESIRED, questions: [{ type: 'A', name }] }),
  )
}

export function answersTcp(resolver: { readonly host: string; readonly port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(resolver)
    const done = (answered: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answered)
    }
    const timer = setTimeout(() => done(false), 1_000)
    socket.on('error', () => done(false))
    socket.on('close', () => done(false))
    socket.on('data', (bytes) => done(bytes.length > 14 && bytes.readUInt16BE(2) === 7))
    const asked = question(7)
    socket.write(Buffer.concat([Buffer.from([asked.length >> 8, asked.length & 255]), asked]))
  })
}

function resolverOf(pid: number): { readonly host: string; readonly port: number } {
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
  const [, host = '', port = ''] = /GRAPEVINE_DNS=([\d.]+):(\d+)/.exec(environment) ?? []
  return { host, port: Number(port) }
}

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}
