import { createServer } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import { afterEach, describe, expect, test } from 'vitest'
import type { JoinProblem } from '../../../agent/transport/diagnose.ts'
import { encodeFrame, frameKinds } from '../../../agent/transport/frames.ts'
import type { Joined } from '../../../agent/transport/join.ts'
import { controlProtocol } from '../../../agent/transport/reach.ts'
import { foundCluster } from '../../../agent/trust/certificate.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'
import { tokenHash, tokenId } from '../../../agent/trust/token.ts'
import { encode } from '../../../protocol/codec.ts'
import { until } from '../../until.ts'
import { type LibStation, memberOf, type Registry, registry, type StationOptions, station } from './stations.ts'
import { strangerNode } from './stranger.ts'

const secret = new Uint8Array(32).fill(9)
const made: LibStation[] = []
const others: (() => unknown)[] = []

afterEach(async () => {
  await Promise.all(others.splice(0).map((close) => close()))
  await Promise.all(made.splice(0).map(({ transport }) => transport.stop()))
})

async function one(options: Omit<StationOptions, 'identity'> & { readonly identity?: Identity }): Promise<LibStation> {
  const result = await station({ identity: createIdentity(), ...options })
  made.push(result)
  return result
}

async function founded(state: Registry = registry()) {
  const identity = createIdentity()
  const { cluster, certificate } = foundCluster(identity)
  state.tokens.set(tokenId(tokenHash(secret)), { expiresMs: null })
  const first = await one({ identity, cluster, certificate, state })
  state.members.set(identity.nodeId, memberOf(first))
  return { cluster, first, state, certificate }
}

function addressOf({ transport }: LibStation): string {
  return transport.listening()[0]!
}

interface Attempt {
  readonly rounds: (readonly JoinProblem[])[]
  readonly joined: () => Joined | undefined
}

function tryJoin(joiner: LibStation, addresses: readonly string[], shown: Uint8Array | undefined = secret): Attempt {
  const rounds: (readonly JoinProblem[])[] = []
  let result: Joined | undefined
  const { joined } = joiner.transport.join({
    addresses,
    secret: shown,
    onProblems: (problems) => rounds.push(problems),
  })
  void joined.then((value) => {
    result = value
  })
  return { rounds, joined: () => result }
}

/** The first diagnosis, which must come within the 5 s that a person is promised. */
async function problemOf(attempt: Attempt): Promise<JoinProblem> {
  const first = await until(() => attempt.rounds[0]?.[0], { deadlineMs: 5_000, what: 'a diagnosis' })
  expect(first.sentence.length * first.fix.length).toBeGreaterThan(0)
  return first
}

describe('joining', () => {
  test('a node with a token is admitted, learns the members and the seed, and is known by its certificate from then on', async () => {
    const { cluster, first } = await founded()
    const joiner = await one({ cluster, certificate: undefined, state: registry() })
    const attempt = tryJoin(joiner, [addressOf(first)])
    const joined = await until(attempt.joined, { deadlineMs: 5_000, what: 'the admission' })
    expect(joined.by).toBe(first.identity.nodeId)
    expect(joined.members.map(({ node }) => node)).toEqual([first.identity.nodeId])
    expect(Buffer.from(joined.seed!).toString()).toBe('seed')
    expect(joiner.transport.certificate()).toEqual(joined.certificate)
    await until(() => first.transport.connected().includes(joiner.identity.nodeId), {
      deadlineMs: 2_000,
      what: 'both ends',
    })
  })

  test('the first words of a newcomer reach members that have not heard of it', async () => {
    const { cluster, first, state } = await founded()
    const other = registry()
    const second = await one({ cluster, certificate: undefined, state: other })
    await until(tryJoin(second, [addressOf(first)]).joined, { deadlineMs: 5_000, what: 'the second' })
    // The third is given the first alone and is kept from dialling the second: all it says goes through the first.
    const third = await one({ cluster, certificate: undefined, state: registry() })
    state.members.clear()
    for (const { transport } of made) transport.subscribe('cluster')
    await until(tryJoin(third, [addressOf(first)]).joined, { deadlineMs: 5_000, what: 'the third' })
    expect(second.transport.connected()).toEqual([first.identity.nodeId])
    await until(
      () => {
        third.transport.publish('cluster', Buffer.from('here I am'))
        return second.messages.some(({ from }) => from === third.identity.nodeId)
      },
      { deadlineMs: 5_000, what: 'its words' },
    )
    expect(second.transport.connected()).toEqual([first.identity.nodeId])
  })

  test('a node that was a member comes back with its certificate and no token, by any member that it remembers', async () => {
    const { cluster, first, state } = await founded()
    const identity = createIdentity()
    const joiner = await one({ identity, cluster, certificate: undefined, state: registry() })
    const joined = await until(tryJoin(joiner, [addressOf(first)]).joined, { deadlineMs: 5_000, what: 'the admission' })
    await joiner.transport.stop()
    state.tokens.clear()
    const own = registry()
    own.members.set(first.identity.nodeId, memberOf(first))
    const again = await one({ identity, cluster, certificate: joined.certificate, state: own })
    await until(() => again.transport.connected().length === 1, { deadlineMs: 5_000, what: 'the return' })
  })

  test('one address that works is enough, in any form, and it goes on until there is one', async () => {
    const { cluster, first } = await founded()
    const port = Number(addressOf(first).split('/')[4])
    await first.transport.stop()
    const joiner = await one({ cluster, certificate: undefined, state: registry() })
    const attempt = tryJoin(joiner, ['no-such-host.invalid', '127.0.0.1:1', `localhost:${port}`])
    await problemOf(attempt)
    const {
      cluster: same,
      certificate,
      state,
    } = { cluster, certificate: first.transport.certificate(), state: registry() }
    state.tokens.set(tokenId(tokenHash(secret)), { expiresMs: null })
    await one({ identity: first.identity, cluster: same, certificate, state, listen: `/ip4/127.0.0.1/tcp/${port}` })
    await until(attempt.joined, { deadlineMs: 15_000, what: 'the admission after the start of the other' })
  })
})

describe('a machine in several networks', () => {
  /** An address that swallows what it is sent. */
  async function nowhere(host: string, port: number): Promise<void> {
    const silent = createServer(() => {})
    others.push(() => silent.close())
    await new Promise<void>((resolve) => silent.listen(port, host, resolve))
  }

  test('is let in when only its second address can be reached', async () => {
    const { cluster, first } = await founded()
    const joiner = await one({
      cluster,
      certificate: undefined,
      state: registry(),
      advertise: ['127.0.0.9', '127.0.0.1'],
    })
    await nowhere('127.0.0.9', Number(addressOf(joiner).split('/')[4]))
    const attempt = tryJoin(joiner, [addressOf(first)])
    await until(attempt.joined, { deadlineMs: 5_000, what: 'the admission' })
    expect(attempt.rounds).toEqual([])
  })

  test('is dialled by one address after another, and nobody else who answers is taken for it', async () => {
    const { cluster, first } = await founded()
    const identity = createIdentity()
    const before = await one({ identity, cluster, certificate: undefined, state: registry() })
    const another = await one({ cluster, certificate: undefined, state: registry() })
    const { certificate } = await until(tryJoin(before, [addressOf(first)]).joined, { deadlineMs: 5_000, what: 'one' })
    await until(tryJoin(another, [addressOf(first)]).joined, { deadlineMs: 5_000, what: 'the other' })
    await before.transport.stop()
    const port = Number(addressOf(first).split('/')[4])
    await nowhere('127.0.0.9', port)
    const listen = [`/ip4/127.0.0.9/tcp/${port}`, addressOf(another), addressOf(first)]
    const own = registry()
    own.members.set(first.identity.nodeId, { ...memberOf(first), listen })
    const again = await one({ identity, cluster, certificate, state: own })
    // One dial's time, in which libp2p alone would still wait for the first address.
    await until(() => again.transport.connected().length > 0, { deadlineMs: 2_000, what: 'the connection' })
    expect(again.transport.connected()[0]).toBe(first.identity.nodeId)
  })
})

describe('a join that does not work says within 5 s which it is', () => {
  async function joinerOf(cluster: string, more: Partial<StationOptions> = {}): Promise<LibStation> {
    return one({ cluster, certificate: undefined, state: registry(), ...more })
  }

  test('name does not resolve; refused; not an agent; itself', async () => {
    const { cluster } = await founded()
    const joiner = await joinerOf(cluster)
    const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1')
    await until(() => server.listening, { deadlineMs: 1_000, what: 'the other server' })
    const { port } = server.address() as { port: number }
    const attempt = tryJoin(joiner, [
      'no-such-host.invalid',
      '127.0.0.1:1',
      `127.0.0.1:${port}`,
      addressOf(joiner),
      'not an address',
    ])
    const problems = await until(() => attempt.rounds[0], { deadlineMs: 5_000, what: 'a diagnosis' })
    server.close()
    expect(problems.map(({ kind }) => kind)).toEqual(['name', 'refused', 'silent', 'self', 'name'])
  })

  test('accepts and says nothing: not an agent', async () => {
    const { cluster } = await founded()
    const server = createServer(() => {}).listen(0, '127.0.0.1')
    await until(() => server.listening, { deadlineMs: 1_000, what: 'the other server' })
    const { port } = server.address() as { port: number }
    expect(await problemOf(tryJoin(await joinerOf(cluster), [`127.0.0.1:${port}`]))).toMatchObject({ kind: 'silent' })
    server.close()
  })

  test('another cluster', async () => {
    const [one, two] = [await founded(), await founded()]
    expect(await problemOf(tryJoin(await joinerOf(one.cluster), [addressOf(two.first)]))).toMatchObject({
      kind: 'other-cluster',
    })
  })

  test('token unknown; token expired', async () => {
    const { cluster, first, state } = await founded()
    state.tokens.set(tokenId(tokenHash(secret)), { expiresMs: 1 })
    const [a, b] = [await joinerOf(cluster), await joinerOf(cluster)]
    expect(await problemOf(tryJoin(a, [addressOf(first)], new Uint8Array(32)))).toMatchObject({ kind: 'token-unknown' })
    expect(await problemOf(tryJoin(b, [addressOf(first)]))).toMatchObject({ kind: 'token-expired' })
  })

  test('removed, and nothing but the reason is said', async () => {
    const { cluster, first, state } = await founded()
    const joiner = await joinerOf(cluster)
    state.removed.add(joiner.identity.nodeId)
    expect(await problemOf(tryJoin(joiner, [addressOf(first)]))).toMatchObject({ kind: 'removed' })
    expect(joiner.transport.certificate()).toBeUndefined()
  })

  test('clock off by N s, in the right direction', async () => {
    const { cluster, first } = await founded()
    const ahead = await problemOf(tryJoin(await joinerOf(cluster, { wallOffsetMs: 90_000 }), [addressOf(first)]))
    expect(ahead).toMatchObject({ kind: 'clock', sentence: expect.stringMatching(/clock is (89|90) s ahead of/) })
  })

  test('our own port is closed to them', async () => {
    const { cluster, first } = await founded()
    const joiner = await joinerOf(cluster, { advertise: ['127.0.0.77'] })
    expect(await problemOf(tryJoin(joiner, [addressOf(first)]))).toMatchObject({
      kind: 'port-closed',
      fix: expect.stringContaining('--advertise'),
    })
  })

  test('a node that knows the cluster id but is no member, and never sees the secret', async () => {
    const { cluster } = await founded()
    const impostor = await strangerNode(cluster)
    others.push(() => impostor.stop())
    const heard: Uint8Array[] = []
    const forged = foundCluster(createIdentity()).certificate
    const greeting = { say: 'greeting', certificate: Uint8Array.from(forged), wallMs: Date.now() }
    await impostor.handle(controlProtocol, (stream) => {
      stream.addEventListener('message', ({ data }) => {
        heard.push(data.subarray())
        if (heard.length === 1) stream.send(encodeFrame(frameKinds.hello, encode(greeting)))
      })
    })
    const problem = await problemOf(tryJoin(await joinerOf(cluster), [impostor.getMultiaddrs()[0]!.toString()]))
    expect(problem.kind).toBe('other-cluster')
    expect(heard.length).toBeGreaterThan(0)
    expect(Buffer.concat(heard).includes(Buffer.from(secret))).toBe(false)
  })

  test('another version of the protocol, told by either side', async () => {
    const { cluster, first } = await founded()
    const old = await strangerNode(cluster)
    others.push(() => old.stop())
    // As accepter: the node of another version answers with its own first byte.
    await old.handle(controlProtocol, (stream) => {
      stream.addEventListener('message', () => void stream.send(encodeFrame(frameKinds.hello, Uint8Array.of(9, 0))), {
        once: true,
      })
    })
    const address = old.getMultiaddrs()[0]!.toString()
    const problem = await problemOf(tryJoin(await joinerOf(cluster), [address]))
    expect(problem).toMatchObject({
      kind: 'version',
      sentence: expect.stringContaining('speaks protocol version 9, this agent 1'),
    })
    // As dialer: it hears our version in a refusal.
    const connection = await old.dial(multiaddr(addressOf(first)))
    const stream = await connection.newStream(controlProtocol)
    const heard: Uint8Array[] = []
    stream.addEventListener('message', ({ data }) => heard.push(data.subarray()))
    stream.send(encodeFrame(frameKinds.hello, Uint8Array.of(9, 0)))
    await until(() => Buffer.concat(heard).includes('version'), { deadlineMs: 3_000, what: 'the refusal' })
  })

  test('the other is not a member itself yet', async () => {
    const { cluster } = await founded()
    const other = await joinerOf(cluster)
    expect(await problemOf(tryJoin(await joinerOf(cluster), [addressOf(other)]))).toMatchObject({
      kind: 'not-a-member',
    })
  })
})

describe('removal', () => {
  test('ends the links of the removed node at once, and it is not let in again', async () => {
    const { cluster, first, state } = await founded()
    const joiner = await one({ cluster, certificate: undefined, state: registry() })
    await until(tryJoin(joiner, [addressOf(first)]).joined, { deadlineMs: 5_000, what: 'the admission' })
    const node = joiner.identity.nodeId
    await until(() => first.transport.connected().includes(node), { deadlineMs: 2_000, what: 'both ends' })
    state.removed.add(node)
    first.transport.refresh()
    await until(() => joiner.lost.length > 0, { deadlineMs: 2_000, what: 'the end of the link' })
    expect(await joiner.transport.dial(first.identity.nodeId)).toBe('unreachable')
    expect(first.transport.connected()).toEqual([])
  })
})
