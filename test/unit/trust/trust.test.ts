import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Fault } from '../../../agent/fault.ts'
import {
  admit,
  chainMax,
  checkCertificate,
  checkRemoval,
  clusterBytes,
  clusterOfBytes,
  foundCluster,
  signRemoval,
} from '../../../agent/trust/certificate.ts'
import {
  createIdentity,
  type Identity,
  loadIdentity,
  nodeIdOf,
  publicKeyOfPeerId,
} from '../../../agent/trust/identity.ts'
import { base32, base58, fromBase32, fromBase58 } from '../../../agent/trust/text.ts'
import { parseToken, printToken } from '../../../agent/trust/token.ts'

const nobody = () => false

function chain(length: number) {
  const identities = [createIdentity()]
  const founded = foundCluster(identities[0]!)
  const certificates = [founded.certificate]
  for (let at = 1; at < length; at++) {
    const subject = createIdentity()
    const made = admit({ issuer: identities[at - 1]!, certificate: certificates[at - 1]!, subject: subject.publicKey })
    if (!made.ok) throw new Error(made.refusal)
    identities.push(subject)
    certificates.push(made.value)
  }
  return { cluster: founded.cluster, identities, certificates }
}

function check(cluster: string, certificate: Uint8Array, node?: Identity) {
  const checked = checkCertificate(certificate, {
    cluster,
    isRemoved: nobody,
    isMember: nobody,
    ...(node === undefined ? {} : { node: node.nodeId }),
  })
  return checked.ok ? 'ok' : checked.refusal
}

describe('identity', () => {
  test('the key of a data directory is made once, readable by its owner only, and loaded again', () => {
    const dir = mkdtempSync(join(tmpdir(), 'vine-'))
    try {
      const first = loadIdentity(dir)
      expect(loadIdentity(dir).nodeId).toBe(first.nodeId)
      expect(statSync(join(dir, 'identity.key')).mode & 0o777).toBe(0o600)
      expect(nodeIdOf(publicKeyOfPeerId(first.peerId)!)).toBe(first.nodeId)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  test('a key file that others may read, or that holds no key, is refused with a remedy', () => {
    const dir = mkdtempSync(join(tmpdir(), 'vine-'))
    try {
      loadIdentity(dir)
      chmodSync(join(dir, 'identity.key'), 0o640)
      expect(() => loadIdentity(dir)).toThrow(
        expect.objectContaining({ code: 'forbidden', fix: expect.stringContaining('chmod 600') }),
      )
      writeFileSync(join(dir, 'identity.key'), 'nonsense')
      chmodSync(join(dir, 'identity.key'), 0o600)
      expect(() => loadIdentity(dir)).toThrow(expect.objectContaining({ code: 'invalid' }))
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  test('base58 and base32 give back the bytes they were given', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(fromBase58(base58(bytes))).toEqual(bytes)
        expect(fromBase32(base32(bytes).toLowerCase())).toEqual(bytes)
      }),
    )
    expect(publicKeyOfPeerId('not a peer id')).toBeUndefined()
    expect(publicKeyOfPeerId('1'.repeat(60))).toBeUndefined()
  })
})

describe('certificates', () => {
  test('the founder and everyone admitted by a member are accepted, by anyone, from the certificate alone', () => {
    const { cluster, identities, certificates } = chain(5)
    for (const [at, certificate] of certificates.entries())
      expect(check(cluster, certificate, identities[at])).toBe('ok')
  })

  test('a certificate of another cluster, another node, or one altered in any byte is refused', () => {
    const { cluster, identities, certificates } = chain(3)
    const certificate = certificates[2]!
    expect(check(chain(1).cluster, certificate)).toBe('other-cluster')
    expect(check(cluster, certificate, identities[1])).toBe('other-node')
    fc.assert(
      fc.property(fc.nat(certificate.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const altered = Uint8Array.from(certificate)
        altered[at] = altered[at]! ^ flip
        expect(check(cluster, altered, identities[2])).not.toBe('ok')
      }),
      { numRuns: 300 },
    )
  })

  test('a cut or foreign text is malformed, never an exception', () => {
    const { cluster, certificates } = chain(2)
    for (let length = 0; length < certificates[1]!.length; length += 7) {
      expect(check(cluster, certificates[1]!.subarray(0, length))).toBe(
        length === certificates[0]!.length ? 'ok' : 'malformed',
      )
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => check(cluster, bytes) !== 'ok'))
  })

  test('a chain ends: the last member may not admit, and nobody else accepts a longer one', () => {
    const { identities, certificates } = chain(chainMax)
    const issuer = { issuer: identities.at(-1)!, certificate: certificates.at(-1)! }
    expect(admit({ ...issuer, subject: createIdentity().publicKey })).toEqual({ ok: false, refusal: 'chain-too-long' })
  })

  test('only its owner can use a certificate to admit, only with the right to, and rights never grow', () => {
    const { cluster, identities, certificates } = chain(2)
    const stranger = createIdentity()
    const own = { issuer: identities[1]!, certificate: certificates[1]! }
    expect(admit({ ...own, issuer: stranger, subject: stranger.publicKey })).toMatchObject({ refusal: 'other-node' })
    const guest = createIdentity()
    const limited = admit({ ...own, subject: guest.publicKey, rights: { admit: false, remove: false } })
    if (!limited.ok) throw new Error(limited.refusal)
    expect(check(cluster, limited.value, guest)).toBe('ok')
    expect(admit({ issuer: guest, certificate: limited.value, subject: stranger.publicKey })).toMatchObject({
      refusal: 'not-allowed',
    })
  })

  test('what a removed node signed counts for known members only, so that it cannot admit with an old date', () => {
    const { cluster, identities, certificates } = chain(3)
    const removed = identities[1]!.nodeId
    const isRemoved = (node: string) => node === removed
    const look = (isMember: () => boolean) => checkCertificate(certificates[2]!, { cluster, isRemoved, isMember })
    expect(look(nobody)).toEqual({ ok: false, refusal: 'issuer-removed' })
    expect(look(() => true)).toMatchObject({ ok: true })
  })
})

describe('removals', () => {
  const { cluster, identities, certificates } = chain(2)
  const removal = { cluster, node: createIdentity().nodeId, by: identities[1]!.nodeId, atMs: 1_700_000_000_000 }
  const sealed = signRemoval(removal, identities[1]!, certificates[1]!)

  test('a removal signed by a member is accepted from the record alone', () => {
    expect(checkRemoval(removal, sealed)).toEqual({ ok: true, value: removal })
  })

  test('a removal of another node, time, cluster or remover than the signed one is refused', () => {
    const wrong = [
      { node: createIdentity().nodeId },
      { atMs: 1 },
      { cluster: chain(1).cluster },
      { by: identities[0]!.nodeId },
    ]
    for (const change of wrong) expect(checkRemoval({ ...removal, ...change }, sealed)).toMatchObject({ ok: false })
  })

  test('a member without the right to remove removes nobody', () => {
    const guest = createIdentity()
    const rights = { admit: true, remove: false }
    const own = admit({ issuer: identities[1]!, certificate: certificates[1]!, subject: guest.publicKey, rights })
    if (!own.ok) throw new Error(own.refusal)
    const by = { ...removal, by: guest.nodeId }
    expect(checkRemoval(by, signRemoval(by, guest, own.value))).toEqual({ ok: false, refusal: 'not-allowed' })
  })

  test('garbage in place of a signature is refused, never an exception', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => !checkRemoval(removal, bytes).ok))
  })
})

describe('tokens', () => {
  const { cluster } = chain(1)

  test('a token says the same after printing and pasting, also wrapped and in lower case', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.option(fc.integer({ min: 1, max: 2 ** 39 })),
        (secret, seconds) => {
          const token = { cluster, secret, expiresMs: seconds === null ? undefined : seconds * 1000 }
          const text = printToken(token)
          expect(parseToken(text)).toEqual(token)
          expect(parseToken(`  ${text.toLowerCase().replace(/(.{40})/, '$1\n')} `)).toEqual(token)
          expect(text.length).toBeLessThanOrEqual(100)
        },
      ),
    )
  })

  test('a token with a character lost or changed, or of another version, is refused with a sentence and a remedy', () => {
    const text = printToken({ cluster, secret: new Uint8Array(32).fill(7), expiresMs: undefined })
    const broken = [
      text.slice(0, -1),
      text.replace('7', '6'),
      text.replace('VINE-1-', 'VINE-2-'),
      '',
      'SWMTKN-1-abc',
      `${text}A`,
    ]
    for (const bad of broken.filter((bad) => bad !== text)) {
      const parsed = parseToken(bad)
      expect(parsed).toBeInstanceOf(Fault)
      expect((parsed as Fault).fix).toContain('vine token')
    }
  })

  test('a cluster id keeps all 128 bits of the key it was made of', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect(Uint8Array.from(clusterBytes(clusterOfBytes(bytes)))).toEqual(bytes)
      }),
    )
  })
})
