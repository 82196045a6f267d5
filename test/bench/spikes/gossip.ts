// Spike: how long one change a second takes to reach 24 other agents, each a process of its own with the production transport.
//
//   node test/bench/spikes/gossip.ts [nodes=25] [seconds=30]
//
// The result of the last run on the build machine is in gossip.md beside this file.
import { fork } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { KnownMember } from '../../../agent/transport/admission.ts'
import { foundCluster } from '../../../agent/trust/certificate.ts'
import { createIdentity, type Identity, identityOf } from '../../../agent/trust/identity.ts'
import { admitted, memberOf, type Registry, registry, station } from '../../contract/transport/stations.ts'
import { pause } from '../figure.ts'

interface Begin {
  readonly pem: string
  readonly cluster: string
  readonly certificate: string
}
type Word =
  | { readonly say: 'member'; readonly member: KnownMember }
  | { readonly say: 'connected'; readonly count: number }
  | { readonly say: 'heard'; readonly ms: number }
  | { readonly say: 'usage'; readonly cpuMs: number; readonly rssMb: number; readonly heapMb: number }

if (process.send === undefined) await parent(Number(process.argv[2] ?? 25), Number(process.argv[3] ?? 30))
else child()

async function parent(nodes: number, seconds: number): Promise<void> {
  const founder = createIdentity()
  const { cluster, certificate } = foundCluster(founder)
  const identities = [founder, ...Array.from({ length: nodes - 1 }, createIdentity)]
  const members: KnownMember[] = []
  const connected = new Map<number, number>()
  const usage: Extract<Word, { say: 'usage' }>[] = []
  let heard: number[] = []
  const children = identities.map((identity, at) => {
    const process = fork(import.meta.filename, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    process.on('message', (word: Word) => {
      if (word.say === 'member') members.push(word.member)
      if (word.say === 'connected') connected.set(at, word.count)
      if (word.say === 'heard') heard.push(word.ms)
      if (word.say === 'usage') usage.push(word)
    })
    const own = at === 0 ? certificate : admitted(founder, certificate, identity)
    process.send(begin(identity, cluster, own))
    return process
  })
  await poll(() => members.length === nodes, 60_000)
  const t0 = performance.now()
  for (const process of children) process.send({ members })
  await poll(() => [...connected.values()].filter((count) => count === nodes - 1).length === nodes, 120_000)
  console.log(`full mesh of ${nodes} after ${Math.round(performance.now() - t0)} ms`)
  await pause(5_000)
  const bytesBefore = loopbackBytes()
  for (const process of children) process.send({ usage: true })
  await poll(() => usage.length === nodes)
  await pause(10_000)
  for (const process of children) process.send({ usage: true })
  await poll(() => usage.length === 2 * nodes)
  const perNode = (loopbackBytes() - bytesBefore) / 10 / nodes / 1000
  const idle = usage.slice(nodes)
  console.log(
    `idle: rss ${range(idle.map((one) => one.rssMb))} MB; cpu ${range(idle.map((one) => one.cpuMs / 100))} % (10 s); ${perNode.toFixed(2)} kB/s a node on the wire`,
  )
  const each: number[] = []
  const last: number[] = []
  for (let round = 0; round < seconds; round++) {
    heard = []
    children[round % nodes]!.send({ publish: true })
    await pause(1_000)
    each.push(...heard)
    last.push(heard.length < nodes - 1 ? Number.POSITIVE_INFINITY : Math.max(...heard))
  }
  console.log(
    `each receiver: p50 ${quantile(each, 0.5)} p99 ${quantile(each, 0.99)} ms; ${each.length} of ${seconds * (nodes - 1)}`,
  )
  console.log(`the last of ${nodes - 1}: p50 ${quantile(last, 0.5)} p99 ${quantile(last, 0.99)} ms`)
  for (const process of children) process.kill('SIGKILL')
}

function child(): void {
  const state: Registry = registry()
  let made: Awaited<ReturnType<typeof station>> | undefined
  let before = process.cpuUsage()
  const say = (word: Word): void => void process.send?.(word)
  process.on('disconnect', () => process.exit(0))
  process.on('message', (message: Begin & { members?: KnownMember[]; publish?: boolean; usage?: boolean }) => {
    if (message.pem !== undefined) void begun(message)
    if (message.members !== undefined) {
      for (const member of message.members) state.members.set(member.node, member)
      made?.transport.refresh()
    }
    if (message.publish) made?.transport.publish('cluster', payload())
    if (message.usage) {
      const used = process.cpuUsage(before)
      before = process.cpuUsage()
      const memory = process.memoryUsage()
      say({
        say: 'usage',
        cpuMs: (used.user + used.system) / 1000,
        rssMb: memory.rss / 1e6,
        heapMb: memory.heapUsed / 1e6,
      })
    }
  })

  async function begun(begin: Begin): Promise<void> {
    const identity = identityOf(createPrivateKey(begin.pem))
    const own = Buffer.from(begin.certificate, 'base64')
    made = await station({ identity, cluster: begin.cluster, certificate: own, state })
    made.transport.subscribe('cluster')
    Object.assign(made.messages, {
      push: ({ text }: { text: string }) => say({ say: 'heard', ms: Date.now() - Number(text.slice(0, 13)) }),
    })
    setInterval(() => say({ say: 'connected', count: made?.transport.connected().length ?? 0 }), 500)
    say({ say: 'member', member: memberOf(made) })
  }
}

function payload(): Uint8Array {
  return Buffer.from(String(Date.now()).padEnd(200, '.'))
}

function begin(identity: Identity, cluster: string, certificate: Uint8Array): Begin {
  const pem = identity.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { pem, cluster, certificate: Buffer.from(certificate).toString('base64') }
}

/** Sent over loopback since boot; run in a network namespace of its own for a figure without other programs. */
function loopbackBytes(): number {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .find((line) => line.trim().startsWith('lo:'))
  return Number(line?.trim().split(/\s+/)[9] ?? 0)
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

function range(values: readonly number[]): string {
  return `${Math.min(...values).toFixed(1)}..${Math.max(...values).toFixed(1)}`
}

async function poll(condition: () => boolean, ms = 30_000): Promise<void> {
  const end = performance.now() + ms
  while (!condition()) {
    if (performance.now() > end) throw new Error('gave up waiting')
    await pause(50)
  }
}
