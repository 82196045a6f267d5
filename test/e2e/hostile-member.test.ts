/**
 * A broken member against a running agent: gossip, sync and mesh, with messages of the right form that are wrong inside.
 *
 * It invents records that nobody may take: written by itself, of another node, stamped years ahead; then one of them, or of the message
 * around it, is bent once more. A member that lies well is believed (README, security); one that is broken must harm nobody.
 */
import { connect, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { alpn } from '../../agent/mesh/dial.ts'
import { encode, protocolVersion } from '../../protocol/codec.ts'
import { frameTypes, headerBytes } from '../../protocol/flow-frames.ts'
import { encodeTarget } from '../../protocol/flow-open.ts'
import { limits } from '../../protocol/limits.ts'
import { requestKinds } from '../../protocol/messages.ts'
import { taskStates } from '../../protocol/model.ts'
import { bent, type Chance, chance, fuzzRuns, fuzzTimeoutMs, manyInputs, mark, noise, pickOf, spoilt } from '../fuzz.ts'
import { until } from '../until.ts'
import { type Insider, openInsider } from './member.ts'
import { droppedBy, openVictims, remembers, type Victims } from './victims.ts'

let victims: Victims
let insider: Insider

beforeAll(async () => {
  victims = await openVictims()
  insider = await openInsider(victims.attacked)
})

afterAll(async () => {
  await insider.close()
  await victims.cluster.close()
})

describe('a broken member', () => {
  afterEach(async ({ task }) => {
    await victims.unharmed(task.name)
  })

  test(
    `gossip: ${manyInputs} of a member are dropped and counted, and kept by nobody`,
    async () => {
      const random = chance('gossip')
      const { attacked } = victims
      const before = await droppedBy(attacked, dropped)
      let countable = 0
      for (let sent = 1; sent <= fuzzRuns; sent++) {
        const topic = pickOf(topics, random)
        const bytes = broken(topic === 'membership' ? { claims: claims() } : batch(random), random)
        insider.gossip(topic, bytes.subarray(0, limits.recordBytesMax))
        if (topic.startsWith('vine/')) countable++
        // The one that sends must not run ahead of the one that reads, or its own queue is what drops.
        if (sent % 100 === 0 || sent === fuzzRuns) await counted(before + enough(countable))
      }
      expect((await droppedBy(attacked, dropped)) - before).toBeGreaterThan(enough(countable))
    },
    fuzzTimeoutMs,
  )

  test(
    `sync: ${manyInputs} of a member are each answered, and move nothing`,
    async () => {
      const random = chance('sync')
      const heardBefore = await droppedBy(victims.other, /./)
      let left = fuzzRuns
      const late: string[] = []
      const askers = Array.from({ length: 16 }, async () => {
        while (left-- > 0) {
          const kind = pickOf(kinds, random)
          await insider.ask(kind, broken(questions[kind]?.(random) ?? {}, random)).catch((error: { code?: string }) => {
            if (error.code === 'timeout') late.push(`${kind}: ${String(error)}`)
          })
        }
      })
      await Promise.all(askers)
      expect(late).toEqual([])
      expect(await droppedBy(victims.other, /./)).toBe(heardBefore)
    },
    fuzzTimeoutMs,
  )

  test(
    `mesh: ${manyInputs} of a member end its connection at worst, and no flow is left`,
    async () => {
      const random = chance('mesh')
      let left = fuzzRuns
      const callers = Array.from({ length: 4 }, async () => {
        while (left > 0) {
          const spoken = sequence(random)
          left -= spoken.opens.length + spoken.rest.length
          await say(spoken, random)
        }
      })
      await Promise.all(callers)
      await until(async () => /^grapevine_mesh_violations_total [1-9]/m.test(await metrics()), {
        deadlineMs: 5_000,
        what: 'violations to be counted',
      })
      // The connection with the other agent, which may be one each way; none of the insider's.
      await until(async () => Number(/^grapevine_mesh_links (\d+)/m.exec(await metrics())?.[1]) <= 2, {
        deadlineMs: 10_000,
        what: 'the connections of the insider to be gone',
      })
    },
    fuzzTimeoutMs,
  )
})

// The last: an agent that writes down its memory stands still for seconds, and is taken for dead.
test('nothing that a broken member invented is in the memory of the other agent', async () => {
  expect(await remembers(victims.other)).toBe(false)
})

const dropped = /^(gossip\.|dropped\.|refused\.)/
/** A message that was bent into an empty one drops nothing. */
const enough = (countable: number) => Math.floor(countable * 0.7)

function counted(wanted: number): Promise<boolean> {
  return until(async () => (await droppedBy(victims.attacked, dropped)) >= wanted, {
    deadlineMs: 20_000,
    everyMs: 5,
    what: 'what was gossiped to be counted as dropped',
  })
}

const metrics = () => victims.attacked.client.get<string>('/grapevine/metrics')

// ---- messages ----

const topics = ['vine/cluster', 'vine/cluster', 'vine/cluster', 'vine/network/ingress', 'membership'] as const

/** A message as bytes, broken in one of the ways in which messages break. */
function broken(message: object, random: Chance): Uint8Array {
  const turn = random()
  if (turn < 0.55) return encode(bent(message, random))
  if (turn < 0.7) return spoilt(encode(message), random)
  if (turn < 0.8)
    return Uint8Array.from([pickOf([0, protocolVersion + 1, 255], random), ...encode(message).subarray(1)])
  // A list in a list …, in as many bytes as levels.
  if (turn < 0.85)
    return Uint8Array.from({ length: 1 + Math.floor(random() ** 4 * 60_000) }, (_, i) => (i === 0 ? 1 : 0x91))
  // A list, a map and a text that announce more than there is.
  if (turn < 0.9) return Uint8Array.from([1, pickOf([0xdd, 0xdf, 0xdb, 0xc6], random), 255, 255, 255, 255, 1])
  if (turn < 0.95) return encode({ ...message, extra: mark.repeat(Math.floor(random() ** 6 * 1_500)) })
  return noise(random, 3_000)
}

let numbers = 1

/** Records that are refused for two reasons at least, so that no bend makes one acceptable. */
function batch(random: Chance): object {
  const records = Array.from({ length: 1 + Math.floor(random() * 4) }, () => inventedRecord(random))
  return { scope: pickOf(['cluster', 'cluster', 'network/ingress', 'network/invented'], random), records }
}

/** 10 years ahead of every clock. */
const aheadMs = 315_000_000_000

function inventedRecord(random: Chance): readonly unknown[] {
  const { nodeId } = insider.identity
  const kind = pickOf(Object.keys(values), random)
  const value = values[kind]
  const stamp = [Date.now() + aheadMs, 0, nodeId] as const
  return [kind, `invented ${kind}`, value, ...stamp, nodeId, 'insider', ++numbers]
}

const version = { ms: 1, counter: 0, node: 'invented' }
/** Nearly right, each with something that its schema or its owner forbids. */
const values: Readonly<Record<string, unknown>> = {
  service: {
    spec: { Name: mark, Labels: { [mark]: mark }, TaskTemplate: { ContainerSpec: { Image: mark } } },
    created: version,
    ancestors: [],
    generation: -1,
    vips: [{ network: 'invented', address: 'invented' }],
    ports: [{ protocol: 'tcp', target: 80, published: 99_999, mode: 'ingress' }],
    updatedMs: 1,
  },
  task: {
    service: 'invented',
    slot: '1',
    node: 'another',
    boot: 'invented',
    created: version,
    generation: 0,
    template: 'invented',
    image: mark,
    state: taskStates[7],
    stateMs: 1,
    message: mark,
    addresses: [],
    ports: [],
  },
  endpoint: { service: 'invented', slot: '1', node: 'another', aliases: [mark], hostname: mark, ready: true },
  member: {
    name: mark,
    peerId: mark,
    presence: 'up',
    listen: [mark],
    mesh: [],
    addresses: [mark],
    networks: ['invented'],
  },
  node: { spec: { Name: mark, Role: mark, Availability: 'drain', Labels: { [mark]: mark } }, created: -1 },
  network: { spec: { Name: mark }, created: version, subnet: mark, gateway: 7 },
  token: { hash: mark, created: version, expiresMs: -5 },
  removal: { by: mark, atMs: 1, signature: mark },
  settings: { name: mark, created: mark, addressPool: mark },
  invented: { of: 'a kind from the future' },
}

const claims = () => [
  {
    node: 'invented',
    says: 'dead',
    incarnation: 7,
    by: insider.identity.nodeId,
    cause: 'refused',
    confirmedBy: ['invented'],
  },
  {
    node: insider.identity.nodeId,
    says: 'alive',
    incarnation: 1,
    by: 'invented',
    cause: '',
    run: 'invented',
    confirmedBy: [],
  },
]

const dots = () => [[insider.identity.nodeId, 'insider', [1, 1]]]

/** Questions of the right form, by kind. */
const questions: Readonly<Record<string, (random: Chance) => object>> = {
  [requestKinds.digest]: () => ({ scopes: [['cluster', [['invented', 'invented', [], [1, 5]]]]], reseed: [] }),
  [requestKinds.pull]: () => ({ scope: 'cluster', wants: dots() }),
  [requestKinds.push]: (random) => ({ ...batch(random), covered: dots(), durable: random() < 0.05 }),
  'swim/probe': () => ({ about: claims() }),
  'swim/probe-for': () => ({ node: 'invented' }),
  'swim/refused': () => ({ node: 'invented' }),
  'swim/table': () => ({ about: claims() }),
  drain: () => ({ task: 'invented' }),
  program: () => ({ image: mark }),
  invented: () => ({ any: mark }),
}
const kinds = [...Object.keys(questions), requestKinds.push, requestKinds.push, requestKinds.digest, requestKinds.pull]

// ---- mesh ----

interface Sequence {
  readonly opens: readonly Uint8Array[]
  /** What follows when the agent has answered. */
  readonly rest: readonly Uint8Array[]
}

/** Flows to the task and to the API that are opened and used, then something that is wrong. */
function sequence(random: Chance): Sequence {
  const flows = Array.from({ length: 1 + Math.floor(random() * 4) }, (_, i) => 1 + 2 * i)
  const used = Array.from({ length: Math.floor(random() * 10) }, () => goodFrame(pickOf(flows, random), random))
  return {
    opens: flows.map((flow) => frame(frameTypes.open, flow, target(random))),
    rest: [...used, wrongFrame(flows, random)],
  }
}

function target(random: Chance): Uint8Array {
  const { attacked, tasks } = victims
  const task = random() < 0.7 ? (tasks.find(({ node }) => node === attacked.name)?.id ?? '') : 'invented'
  const here = { host: '127.0.0.1', port: 7 }
  const good = encodeTarget(
    random() < 0.2
      ? { kind: 'api' }
      : {
          kind: random() < 0.8 ? 'tcp' : 'udp',
          task,
          target: random() < 0.8 ? 80 : 81,
          client: here,
          entry: here,
          proxyProtocol: random() < 0.3,
        },
  )
  return random() < 0.2 ? spoilt(good, random).slice(0, 512) : good
}

/** Good for a flow that was accepted. */
function goodFrame(flow: number, random: Chance): Uint8Array {
  const turn = random()
  if (turn < 0.4) return frame(frameTypes.data, flow, random() < 0.5 ? Buffer.from(request) : noise(random, 16_000))
  if (turn < 0.6) return frame(frameTypes.datagram, flow, noise(random, 2_000))
  if (turn < 0.7) return frame(frameTypes.rst, flow, Uint8Array.of(Math.floor(random() * 256)))
  if (turn < 0.8) return frame(frameTypes.fin, flow, new Uint8Array(0))
  return frame(turn < 0.9 ? frameTypes.ping : frameTypes.pong, 0, new Uint8Array(0))
}

const request = 'GET /invented HTTP/1.1\r\nHost: x\r\n\r\n'

function wrongFrame(opened: readonly number[], random: Chance): Uint8Array {
  const flow = random() < 0.7 ? pickOf(opened, random) : Math.floor(random() * 2 ** 32)
  const types = Object.values(frameTypes)
  const turn = random()
  if (turn < 0.5) return frame(pickOf(types, random), flow, noise(random, 600))
  if (turn < 0.6) return frame(frameTypes.data, flow, Buffer.from(request))
  if (turn < 0.7) return frame(frameTypes.window, flow, Uint8Array.of(255, 255, 255, 255))
  if (turn < 0.8) return spoilt(frame(frameTypes.open, flow, target(random)), random)
  if (turn < 0.9) return frame(frameTypes.fin, flow, new Uint8Array(0))
  // A length that is never sent.
  return frame(frameTypes.datagram, flow, Buffer.alloc(60_000)).subarray(0, 20)
}

function frame(type: number, flow: number, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(headerBytes + payload.length)
  bytes[0] = type
  bytes.writeUInt16BE(payload.length, 2)
  bytes.writeUInt32BE(flow, 4)
  bytes.set(payload, headerBytes)
  return bytes
}

/** One connection: opens flows, goes on when the agent has answered, and is over when the agent ends it or a moment has passed. */
function say({ opens, rest }: Sequence, random: Chance): Promise<void> {
  const bytes = Buffer.concat(rest)
  const cut = Math.floor(random() * bytes.length)
  const wrong = random()
  return new Promise((resolve) => {
    const socket: TLSSocket = connect({
      host: victims.attacked.inner,
      port: 7767,
      rejectUnauthorized: false,
      // Now and then a stranger, or a member of another version.
      ...(wrong < 0.02 ? {} : { secureContext: insider.secure }),
      ALPNProtocols: [wrong > 0.98 ? 'grapevine-mesh/2' : alpn],
    })
    const timer = setTimeout(() => socket.destroy(), 2_000)
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve()
    })
    const goOn = () => {
      socket.write(bytes.subarray(0, cut))
      socket.write(bytes.subarray(cut), () => setTimeout(() => socket.destroy(), patienceMs))
    }
    socket.on('secureConnect', () => {
      socket.write(Buffer.concat(opens))
      // Some do not wait for the word that a flow is accepted.
      if (random() < 0.2) goOn()
      else socket.once('data', goOn)
      socket.resume()
    })
  })
}

/** 20 ms: enough for the agent to read what was written, and to end the connection for it. */
const patienceMs = 20
