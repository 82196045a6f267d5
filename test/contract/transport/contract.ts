// What every Transport promises, libp2p's and the simulator's: one suite for both (design.md 2). Time passes as the implementation says:
// `until` polls on the real clock or moves a virtual one.
import { describe, expect, test } from 'vitest'
import type { Disconnect, Transport } from '../../../agent/world.ts'
import type { NodeId } from '../../../protocol/ids.ts'

/** One node of a cluster under test, with all that its transport told it. */
export interface Station {
  readonly transport: Transport
  readonly messages: { readonly topic: string; readonly from: NodeId; readonly text: string }[]
  readonly arrived: NodeId[]
  readonly lost: { readonly node: NodeId; readonly why: Disconnect }[]
  /** Answers requests of kind 'echo' with their bytes, 'who' with its own id; 'fail' rejects; 'never' does not answer. */
  /** Ends it as SIGKILL ends a process: nothing is said, its sockets close, its port refuses. */
  crash(): Promise<void>
}

export interface Cluster {
  /** Started and members of one cluster; nobody has waited for them to connect. */
  readonly stations: readonly Station[]
  until(what: string, condition: () => boolean): Promise<void>
  close(): Promise<void>
}

export type MakeCluster = (size: number) => Promise<Cluster>

export function transportContract(name: string, makeCluster: MakeCluster): void {
  async function cluster(size: number, run: (cluster: Cluster) => Promise<void>): Promise<void> {
    const made = await makeCluster(size)
    try {
      await made.until('everybody to be connected', () =>
        made.stations.every(({ transport }) => transport.connected().length === size - 1),
      )
      await run(made)
    } finally {
      await made.close()
    }
  }

  describe(`${name} keeps the Transport contract`, () => {
    test('members find each other, and connected() is sorted and leaves out oneself', () =>
      cluster(3, async ({ stations }) => {
        const ids = stations.map(({ transport }) => transport.self).sort()
        for (const { transport, arrived } of stations) {
          expect(transport.connected()).toEqual(ids.filter((id) => id !== transport.self))
          expect([...arrived].sort()).toEqual(transport.connected())
        }
      }))

    test('a published message reaches every subscriber once, from its writer, and not its writer', () =>
      cluster(3, async ({ stations, until }) => {
        const [a, b, c] = stations
        for (const { transport } of stations) transport.subscribe('cluster')
        await published(a!, until, stations.slice(1), 'cluster')
        a!.transport.publish('cluster', Buffer.from('hello'))
        await until('the message', () => [b!, c!].every((station) => texts(station, 'cluster').includes('hello')))
        for (const station of [b!, c!]) {
          const got = station.messages.filter(({ text }) => text === 'hello')
          expect(got).toEqual([{ topic: 'cluster', from: a!.transport.self, text: 'hello' }])
        }
        expect(a!.messages).toEqual([])
      }))

    test('a topic reaches those only that subscribe to it, and no more after unsubscribe', () =>
      cluster(3, async ({ stations, until }) => {
        const [a, b, c] = stations
        for (const { transport } of stations) transport.subscribe('all')
        a!.transport.subscribe('some')
        b!.transport.subscribe('some')
        await published(a!, until, [b!], 'some')
        await published(a!, until, [b!, c!], 'all')
        expect(texts(c!, 'some')).toEqual([])
        b!.transport.unsubscribe('some')
        const before = texts(b!, 'some').length
        a!.transport.publish('some', Buffer.from('unheard'))
        await published(a!, until, [b!, c!], 'all')
        expect(texts(b!, 'some').slice(before)).toEqual([])
      }))

    test('a request is answered by the node that was asked, also when 100 are under way', () =>
      cluster(2, async ({ stations }) => {
        const [a, b] = stations
        const answers = await Promise.all(
          Array.from({ length: 100 }, (_, number) =>
            a!.transport.request(b!.transport.self, 'echo', Buffer.from(`n${number}`), 5_000),
          ),
        )
        expect(answers.map((bytes) => Buffer.from(bytes).toString())).toEqual(answers.map((_, number) => `n${number}`))
        const who = await b!.transport.request(a!.transport.self, 'who', new Uint8Array(), 5_000)
        expect(Buffer.from(who).toString()).toBe(a!.transport.self)
      }))

    test('an answer may be as large as the limit', () =>
      cluster(2, async ({ stations }) => {
        const [a, b] = stations
        const bytes = Buffer.alloc(1024 * 1024, 7)
        const answer = await a!.transport.request(b!.transport.self, 'echo', bytes, 10_000)
        expect(Buffer.compare(Buffer.from(answer), bytes)).toBe(0)
      }))

    test("a request that is refused, not answered, or for a node that is not connected fails with 'unavailable' or 'timeout'", () =>
      cluster(2, async ({ stations }) => {
        const [a, b] = stations
        const ask = (node: NodeId, kind: string, ms: number) => a!.transport.request(node, kind, new Uint8Array(), ms)
        await expect(ask(b!.transport.self, 'fail', 5_000)).rejects.toMatchObject({ code: 'unavailable' })
        await expect(ask(b!.transport.self, 'never', 50)).rejects.toMatchObject({ code: 'timeout' })
        await expect(ask('0'.repeat(25), 'echo', 5_000)).rejects.toMatchObject({ code: 'unavailable' })
      }))

    test('a crashed node is reported lost by all, its pending requests fail, and dial says refused', () =>
      cluster(3, async ({ stations, until }) => {
        const [a, b, c] = stations
        const gone = c!.transport.self
        const pending = a!.transport.request(gone, 'never', new Uint8Array(), 60_000).catch((error) => error.code)
        await c!.crash()
        await until('the loss', () => [a!, b!].every(({ lost }) => lost.some(({ node }) => node === gone)))
        expect(await pending).toBe('unavailable')
        expect(a!.transport.connected()).not.toContain(gone)
        expect(await a!.transport.dial(gone)).toBe('refused')
        expect(await a!.transport.dial(b!.transport.self)).toBe('connected')
        expect(await a!.transport.dial('0'.repeat(25))).toBe('unreachable')
      }))
  })
}

function texts(station: Station, topic: string): readonly string[] {
  return station.messages.filter((message) => message.topic === topic).map(({ text }) => text)
}

/** Waits until gossip flows on a topic: publishes numbered words until all have heard one, since delivery is best effort. */
async function published(
  writer: Station,
  until: Cluster['until'],
  readers: readonly Station[],
  topic: string,
): Promise<void> {
  const before = readers.map((reader) => texts(reader, topic).length)
  let number = 0
  await until(`gossip on ${topic}`, () => {
    if (readers.every((reader, at) => texts(reader, topic).length > before[at]!)) return true
    writer.transport.publish(topic, Buffer.from(`probe ${number++}`))
    return false
  })
}
