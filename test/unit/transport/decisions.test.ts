import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { abortNow } from '../../../agent/transport/abort.ts'
import { transportTimes } from '../../../agent/transport/admission.ts'
import { advertised } from '../../../agent/transport/advertise.ts'
import { dialFailureOf, problemOf } from '../../../agent/transport/diagnose.ts'
import { redialDelayMs } from '../../../agent/transport/dialer.ts'
import { encodeFrame, type Frame, frameKinds, frameReader } from '../../../agent/transport/frames.ts'
import { unwrap, wrap } from '../../../agent/transport/gossip.ts'
import { fullMeshMax, keepsNew, keepsWith, meshPeers } from '../../../agent/transport/mesh.ts'
import { placeOf } from '../../../agent/transport/place.ts'

const names = (count: number) => Array.from({ length: count }, (_, at) => `node${String(at).padStart(4, '0')}`)

describe('meshPeers()', () => {
  test('connects everyone with everyone up to its bound', () => {
    const nodes = names(fullMeshMax)
    expect(meshPeers(nodes[3]!, nodes)).toEqual(nodes.filter((node) => node !== nodes[3]))
  })

  test('above it each node has few links, both ends want each link, and nobody is cut off', () => {
    fc.assert(
      fc.property(fc.integer({ min: fullMeshMax + 1, max: 300 }), (size) => {
        const nodes = names(size)
        const links = new Map(nodes.map((node) => [node, meshPeers(node, nodes)]))
        for (const [node, peers] of links) {
          expect(peers.length).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(size)))
          for (const peer of peers) expect(links.get(peer)).toContain(node)
        }
        const reached = new Set([nodes[0]!])
        for (const node of reached) for (const peer of links.get(node)!) reached.add(peer)
        expect(reached.size).toBe(size)
      }),
      { numRuns: 20 },
    )
  })
})

describe('keepsWith()', () => {
  test('a small cluster keeps a connection with everyone, also one that is no member yet', () => {
    const nodes = names(fullMeshMax)
    expect(nodes.every((node) => keepsWith(nodes[3]!, nodes, node))).toBe(true)
    expect(keepsWith(nodes[3]!, nodes, 'newcomer')).toBe(true)
  })

  test('a large one with those of its mesh', () => {
    const nodes = names(fullMeshMax + 1)
    const kept = nodes.filter((node) => keepsWith(nodes[3]!, nodes, node))
    expect(kept).toEqual(meshPeers(nodes[3]!, nodes))
    expect(keepsWith(nodes[3]!, nodes, 'newcomer')).toBe(false)
  })
})

describe('keepsNew()', () => {
  test('both ends keep the same of two connections, whichever each saw first', () => {
    const low = 'a'
    const byLow = { dialledBy: 'a' }
    const byHigh = { dialledBy: 'b' }
    expect(keepsNew({ low }, byHigh, byLow)).toBe(true)
    expect(keepsNew({ low }, byLow, byHigh)).toBe(false)
    expect(keepsNew({ low }, byHigh, { dialledBy: 'b' })).toBe(true)
  })
})

describe('redialDelayMs()', () => {
  test('grows, never ends, and never exceeds three halves of its bound', () => {
    const times = transportTimes.local
    for (let failures = 0; failures < 2_000; failures++) {
      const least = redialDelayMs(failures, 0, times)
      const most = redialDelayMs(failures, 0.999, times)
      expect(least).toBeGreaterThanOrEqual(times.redialMinMs / 2)
      expect(most).toBeLessThanOrEqual(times.redialMaxMs * 1.5)
    }
    expect(redialDelayMs(1, 0.5, times)).toBe(2 * redialDelayMs(0, 0.5, times))
  })
})

describe('frameReader()', () => {
  test('gives the frames that were written, however the bytes were cut', () => {
    const frames = fc.array(
      fc.record({ kind: fc.constantFrom(...Object.values(frameKinds)), body: fc.uint8Array({ maxLength: 50 }) }),
    )
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (written, cuts) => {
        const bytes = Buffer.concat(written.map(({ kind, body }) => encodeFrame(kind, body)))
        const reader = frameReader(() => 100)
        const read: Frame[] = []
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const length = cuts[turn % cuts.length]!
          const taken = reader.take(bytes.subarray(at, at + length))
          if (taken === 'too-long') throw new Error('too long')
          read.push(...taken)
          at += length
        }
        expect(read).toEqual(written)
      }),
    )
  })

  test('ends for good at a frame that announces more than is allowed, and keeps nothing of it', () => {
    const reader = frameReader(() => 10)
    expect(reader.take(Uint8Array.of(0, 0, 0, 11, 1))).toBe('too-long')
    expect(reader.take(encodeFrame(frameKinds.hello))).toBe('too-long')
  })
})

describe('gossip wrapping', () => {
  test('gives back payload and certificate, and garbage is undefined, never an exception', () => {
    const bytes = fc.uint8Array({ maxLength: 300 })
    fc.assert(
      fc.property(
        bytes,
        fc.option(fc.uint8Array({ minLength: 1, maxLength: 300 }), { nil: undefined }),
        (payload, certificate) => {
          const opened = unwrap(wrap(payload, certificate))
          expect(opened?.bytes).toEqual(payload)
          expect(opened?.certificate).toEqual(certificate)
        },
      ),
    )
    fc.assert(fc.property(bytes, (garbage) => void unwrap(garbage)))
    expect(unwrap(Uint8Array.of(1, 255, 255, 0))).toBeUndefined()
    expect(unwrap(Uint8Array.of(2, 0, 0, 0))).toBeUndefined()
  })
})

describe('advertised()', () => {
  const host = (name: string, address: string, bridge = false) => ({
    name,
    address,
    family: 'IPv4' as const,
    internal: name === 'lo',
    bridge,
  })
  const hosts = [
    host('lo', '127.0.0.1'),
    host('docker0', '172.17.0.1', true),
    host('br-3f', '172.18.0.1'),
    host('storage', '198.51.100.7'),
    host('lan', '203.0.113.7', true),
    host('eth0', '192.0.2.7'),
  ]
  const listening = hosts.map(({ address }) => `/ip4/${address}/tcp/7766`)
  const found = { advertise: [], addresses: ['192.0.2.7', '127.0.0.1'] }

  test("tells the machine's own addresses, the default route's first, never a bridge's, and loopback only when there is nothing else", () => {
    expect(advertised(listening, found, hosts)).toEqual(['/ip4/192.0.2.7/tcp/7766', '/ip4/198.51.100.7/tcp/7766'])
    expect(advertised(['/ip4/127.0.0.1/tcp/1'], found, hosts)).toEqual(['/ip4/127.0.0.1/tcp/1'])
  })

  test("tells a bridge's address when the default route goes by it", () => {
    expect(advertised(listening, { ...found, addresses: ['203.0.113.7'] }, hosts)[0]).toBe('/ip4/203.0.113.7/tcp/7766')
  })

  test('tells what the operator named, and only that', () => {
    const advertise = ['198.51.100.1', 'n1.example', '2001:db8::1']
    expect(advertised(listening, { ...found, advertise }, hosts)).toEqual([
      '/ip4/198.51.100.1/tcp/7766',
      '/dns/n1.example/tcp/7766',
      '/ip6/2001:db8::1/tcp/7766',
    ])
  })
})

describe('placeOf()', () => {
  test.each([
    ['/ip4/192.0.2.1/tcp/7000/p2p/12D3KooWabc', { host: '192.0.2.1', port: 7000, peer: '/p2p/12D3KooWabc' }],
    ['/dns4/n1/tcp/7000', { host: 'n1', port: 7000, peer: '' }],
    ['n1', { host: 'n1', port: 7766, peer: '' }],
    ['n1:80', { host: 'n1', port: 80, peer: '' }],
    ['192.0.2.1', { host: '192.0.2.1', port: 7766, peer: '' }],
    ['[2001:db8::1]:80', { host: '2001:db8::1', port: 80, peer: '' }],
    ['2001:db8::1', { host: '2001:db8::1', port: 7766, peer: '' }],
    ['/ip4/192.0.2.1/udp/7000', undefined],
    ['n1:99999', undefined],
    ['http://n1', undefined],
    ['', undefined],
  ])('reads %s', (text, place) => expect(placeOf(text)).toEqual(place))
})

describe('abortNow()', () => {
  test('never throws, and asks again when the farewell could not be written, so that the socket below is closed too', () => {
    const why: string[] = []
    const abort = (error: Error) => {
      why.push(error.message)
      if (why.length === 1) throw new Error('Cannot write to a stream that is closed')
    }
    abortNow({ abort }, 'over')
    expect(why).toEqual(['over', 'over'])
  })
})

describe('diagnosis', () => {
  const coded = (code: string) => Object.assign(new Error(code), { code })

  test('says refused only when every address answered that nothing listens', () => {
    const refused = coded('ECONNREFUSED')
    expect(dialFailureOf(new AggregateError([refused, refused]), false).kind).toBe('refused')
    expect(dialFailureOf(new AggregateError([refused, coded('EHOSTUNREACH')]), false).kind).toBe('no-route')
    expect(dialFailureOf(new AggregateError([refused, coded('ETIMEDOUT')]), false).kind).toBe('timeout')
  })

  test('tells a machine that does not answer from an agent that does not answer', () => {
    const late = Object.assign(new Error('late'), { name: 'TimeoutError' })
    expect(dialFailureOf(late, false).kind).toBe('timeout')
    expect(dialFailureOf(late, true).kind).toBe('silent')
  })

  test('a time-out names the two ports to open', () => {
    const sought = { address: 'n1', host: 'n1', port: 7766, ownPort: 7766, ownVersion: 1 }
    const problem = problemOf({ kind: 'timeout', detail: '' }, sought)
    expect(problem.fix).toBe('Open TCP ports 7766 and 7767 on n1')
    const version = problemOf({ kind: 'refusal', refusal: { say: 'refuse', reason: 'version', number: 2 } }, sought)
    expect(version.sentence).toBe('n1:7766 speaks protocol version 2, this agent 1')
  })
})
