/**
 * Who a node is: an Ed25519 key that never leaves its data directory, the peer id that names it, and the node id hashed from that.
 *
 * A node id is a hash, so nobody can take another node's id without its key (design.md 10, 11). This file owns `identity.key` and knows
 * libp2p's peer id format (libp2p specs, peer-ids: identity multihash of the protobuf of the public key) without importing libp2p.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { idFromBytes, type NodeId } from '../../protocol/ids.ts'
import { assert, fault, reasonOf } from '../fault.ts'
import { readSecret, writeSecret } from './secret-file.ts'
import { base58, fromBase58 } from './text.ts'

export interface Identity {
  readonly nodeId: NodeId
  /** libp2p's text form, `12D3KooW…`. */
  readonly peerId: string
  /** For node:crypto and node:tls. */
  readonly privateKey: KeyObject
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array
  /** Raw seed, 32 bytes: what other Ed25519 libraries call the private key. Secret. */
  readonly seed: Uint8Array
  sign(bytes: Uint8Array): Uint8Array
}

export const identityFile = 'identity.key'

/** Raw lengths of RFC 8032. */
export const publicKeyBytes = 32
export const signatureBytes = 64

/** Loads the key of a data directory, or makes one. A key file that others may read is refused with `forbidden`. */
export function loadIdentity(dataDir: string): Identity {
  const path = join(dataDir, identityFile)
  const existing = readKeyFile(path)
  if (existing !== undefined) return existing
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const created = createIdentity()
  writeSecret(path, created.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  const stored = readKeyFile(path)
  assert(stored !== undefined, 'a key file that was just written can be read')
  return stored
}

/** A new identity that is stored nowhere. */
export function createIdentity(): Identity {
  return identityOf(generateKeyPairSync('ed25519').privateKey)
}

export function identityOf(privateKey: KeyObject): Identity {
  const publicKey = rawPublicKey(privateKey)
  const { d } = privateKey.export({ format: 'jwk' })
  assert(d !== undefined, 'an Ed25519 private key has a seed')
  return {
    nodeId: nodeIdOf(publicKey),
    peerId: peerIdOf(publicKey),
    privateKey,
    publicKey,
    seed: Buffer.from(d, 'base64url'),
    sign: (bytes) => sign(null, bytes, privateKey),
  }
}

/** The node id of a raw Ed25519 public key (32 bytes). */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  return idFromBytes(createHash('sha256').update(peerIdBytes(publicKey)).digest())
}

/** libp2p's peer id text of a raw Ed25519 public key. */
export function peerIdOf(publicKey: Uint8Array): string {
  return base58(peerIdBytes(publicKey))
}

/** The raw public key inside a peer id, or undefined when the text is no Ed25519 peer id. */
export function publicKeyOfPeerId(peerId: string): Uint8Array | undefined {
  if (peerId.length > 64) return undefined
  const bytes = fromBase58(peerId)
  if (bytes === undefined || bytes.length !== peerIdPrefix.length + publicKeyBytes) return undefined
  if (!peerIdPrefix.every((byte, at) => bytes[at] === byte)) return undefined
  return bytes.subarray(peerIdPrefix.length)
}

/** The raw 32 bytes of an Ed25519 key, private or public. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  const { x } = publicKey.export({ format: 'jwk' })
  assert(x !== undefined, 'an Ed25519 key has a public half')
  return Buffer.from(x, 'base64url')
}

/** Whether the holder of the raw public key signed the bytes. Wrong lengths are a plain no. */
export function isSignedBy(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== publicKeyBytes || signature.length !== signatureBytes) return false
  try {
    return verify(null, bytes, publicKeyObject(publicKey), signature)
  } catch {
    // OpenSSL refuses some 32-byte strings as keys: nobody holds such a key, so nobody signed.
    return false
  }
}

function publicKeyObject(raw: Uint8Array): KeyObject {
  return createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw).toString('base64url') },
    format: 'jwk',
  })
}

/** Identity multihash (0x00, 36 bytes) of protobuf { 1: type = 1 (Ed25519), 2: 32 bytes }. */
const peerIdPrefix = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

function peerIdBytes(publicKey: Uint8Array): Uint8Array {
  assert(publicKey.length === publicKeyBytes, 'an Ed25519 public key has 32 bytes')
  return Buffer.concat([peerIdPrefix, publicKey])
}

function readKeyFile(path: string): Identity | undefined {
  const pem = readSecret(path)
  if (pem === undefined) return undefined
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`it holds a key of type ${key.asymmetricKeyType}`)
    return identityOf(key)
  } catch (error) {
    throw fault(
      'invalid',
      `${path} holds no usable Ed25519 key: ${reasonOf(error)}`,
      'Restore it from a backup, or delete it: the node then gets a new identity and needs a token',
      error,
    )
  }
}
