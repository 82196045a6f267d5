// What WireGuard is told: who the peers are, what differs, and that nothing of a record becomes a word for it unchecked.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { OverlayNode } from '../../../agent/core/routes/overlay.ts'
import { innerAddress, innerPrefix, wireguardName } from '../../../agent/dataplane/linux/names.ts'
import {
  deviceMtu,
  deviceText,
  type Peers,
  peerChanges,
  peersOf,
  readPeers,
} from '../../../agent/dataplane/linux/wireguard.ts'
import { loadWireguardKey } from '../../../agent/trust/wireguard-key.ts'
import { memberSchema } from '../../../protocol/model.ts'

const node = (name: string, more: Partial<OverlayNode> = {}): OverlayNode => ({
  node: name,
  address: '192.0.2.2',
  addresses: ['192.0.2.2'],
  dataplane: 'linux',
  dataPathPort: 4789,
  wireguard: { key: `key of ${name}`, port: 51_820 },
  ...more,
})
const own = { self: 'n1', key: 'key of n1' }
const named = (peers: Peers) => [...peers.values()].map(({ inner }) => inner)

describe('inner addresses', () => {
  test('every node has its own below one prefix, written as the kernel writes it', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (one, two) => {
        const inner = innerAddress(one)
        expect(isIPv6(inner) && inner.startsWith(innerPrefix.replace('::/48', ':'))).toBe(true)
        expect(new URL(`http://[${inner}]`).hostname).toBe(`[${inner}]`)
        expect(innerAddress(two) === inner).toBe(one === two)
      }),
    )
    expect(wireguardName('0badcafe')).toMatch(/^vw[0-9a-z]{9}$/)
  })
})

describe('peers', () => {
  test('every other linux node that told a key is one, dead or alive, and may send from its own inner address alone', () => {
    const nodes = [node('n2'), node('n3', { dataplane: 'userspace' }), node('n4', { wireguard: undefined })]
    expect([...peersOf(nodes, own)]).toEqual([
      ['key of n2', { endpoint: '192.0.2.2:51820', inner: innerAddress('n2') }],
    ])
    expect([...peersOf([node('n2', { address: '2001:db8::2' })], own).values()]).toMatchObject([
      { endpoint: '[2001:db8::2]:51820' },
    ])
  })

  test("a key that two claim is the first one's, ours is nobody else's, and a name is no endpoint", () => {
    const key = { key: 'key of n2', port: 1 }
    expect(named(peersOf([node('n2'), node('n3', { wireguard: key })], own))).toEqual([innerAddress('n2')])
    expect(named(peersOf([node('n2', { wireguard: { key: own.key, port: 1 } })], own))).toEqual([])
    expect(named(peersOf([node('n2', { address: 'abc.de' }), node('n3', { address: '1.2.3' })], own))).toEqual([])
  })

  test('what has changed is told and nothing else', () => {
    const tables = fc.array(
      fc.record({ name: fc.constantFrom('n2', 'n3', 'n4', 'n5'), port: fc.integer({ min: 1, max: 3 }) }),
    )
    fc.assert(
      fc.property(tables, tables, (before, after) => {
        const [have, want] = [before, after].map((some) =>
          peersOf(
            some.map(({ name, port }) => node(name, { wireguard: { key: `key of ${name}`, port } })),
            own,
          ),
        ) as [Peers, Peers]
        const { coming, going } = peerChanges(have, want)
        const result = new Map(have)
        for (const key of going) result.delete(key)
        for (const [key, peer] of readConfig(coming)) result.set(key, peer)
        expect(new Map([...result].sort())).toEqual(new Map([...want].sort()))
        expect(peerChanges(want, want)).toEqual({ coming: '', going: [] })
      }),
    )
  })

  test('what the device has is read back from wg(8)', () => {
    const inner = innerAddress('n2')
    const read = readPeers(`k2=\t${inner}/128\nk3=\t(none)\n`, 'k2=\t192.0.2.2:51820\nk3=\t(none)\n')
    expect([...read]).toEqual([
      ['k2=', { inner, endpoint: '192.0.2.2:51820' }],
      ['k3=', { inner: '(none)', endpoint: '(none)' }],
    ])
  })

  test('a new device is told everything at once', () => {
    const text = deviceText({ secret: 'c2VjcmV0', port: 51_821 }, peersOf([node('n2')], own))
    expect(text).toBe(
      `[Interface]\nPrivateKey = c2VjcmV0\nListenPort = 51821\n[Peer]\nPublicKey = key of n2\nEndpoint = 192.0.2.2:51820\nAllowedIPs = ${innerAddress('n2')}/128\n`,
    )
  })

  test('the device leaves WireGuard its room, and never has less than IPv6 needs', () => {
    expect([deviceMtu(1_500, '192.0.2.1'), deviceMtu(1_500, '2001:db8::1'), deviceMtu(1_300, '192.0.2.1')]).toEqual([
      1_440, 1_420, 1_280,
    ])
  })
})

describe('the key of a node', () => {
  function directory(): string {
    const dir = mkdtempSync(join(tmpdir(), 'gv-wireguard-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    return dir
  }

  test('is made once, and nobody else may read it', () => {
    const dir = directory()
    const made = loadWireguardKey(dir)
    expect([made.publicKey.length, Buffer.from(made.secret, 'base64').length]).toEqual([32, 32])
    expect(loadWireguardKey(dir)).toEqual(made)
    expect(statSync(join(dir, 'wireguard.key')).mode & 0o777).toBe(0o600)
    expect(loadWireguardKey(directory()).secret).not.toBe(made.secret)
  })

  test('is refused where others may read it, or where it is none', () => {
    const dir = directory()
    loadWireguardKey(dir)
    const file = join(dir, 'wireguard.key')
    chmodSync(file, 0o640)
    expect(() => loadWireguardKey(dir)).toThrow(/can be read by other users/)
    chmodSync(file, 0o600)
    writeFileSync(file, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
    expect(() => loadWireguardKey(dir)).toThrow(/no usable X25519 key: it holds a key of type ed25519/)
    writeFileSync(file, randomBytes(40))
    expect(() => loadWireguardKey(dir)).toThrow(/no usable X25519 key/)
    expect(readFileSync(file)).toHaveLength(40)
  })
})

describe('what a record may say of it', () => {
  const told = (wireguard: unknown) => memberSchema.shape.wireguard.safeParse(wireguard).success

  test('a key has 32 bytes and a port is one; a record of an older agent says nothing', () => {
    const key = new Uint8Array(32)
    expect([
      told(undefined),
      told({ key, port: 51_820 }),
      told({ key, port: 1, lack: 'the program wg is missing' }),
    ]).toEqual(Array(3).fill(true))
    const wrong = [
      { key: new Uint8Array(31), port: 1 },
      { key: new Uint8Array(33), port: 1 },
      { key: 'A'.repeat(32), port: 1 },
      { key, port: 0 },
      { key, port: 65_536 },
      { key, port: '1' },
      { key, port: 1, lack: 'x'.repeat(2_000) },
      'key',
    ]
    expect(wrong.filter(told)).toEqual([])
  })
})

/** As wg(8) reads it. */
function readConfig(text: string): Peers {
  const sections = text.split('[Peer]\n').filter((section) => section !== '')
  return new Map(
    sections.map((section) => {
      const field = (name: string) => new RegExp(`^${name} = (.*)$`, 'm').exec(section)?.[1] ?? ''
      const inner = field('AllowedIPs').replace('/128', '')
      return [field('PublicKey'), { endpoint: field('Endpoint'), inner }]
    }),
  )
}
