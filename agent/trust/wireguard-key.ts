/**
 * The key pair by which other nodes encrypt to this one: X25519 (RFC 7748), in `wireguard.key` of the data directory.
 *
 * Not the identity: Ed25519 signs and X25519 agrees on secrets, and a key that WireGuard's programs hold must be worth nothing else.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { join } from 'node:path'
import { assert, fault, reasonOf } from '../fault.ts'
import { readSecret, writeSecret } from './secret-file.ts'

export interface WireguardKey {
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array
  /** In base64, as wg(8) takes it. Secret: goes into the device by standard input, and nowhere else. */
  readonly secret: string
}

export const wireguardKeyFile = 'wireguard.key'

/** Loads the key of a data directory that is there, or makes one. A key file that others may read is refused with `forbidden`. */
export function loadWireguardKey(dataDir: string): WireguardKey {
  const path = join(dataDir, wireguardKeyFile)
  if (readSecret(path) === undefined) {
    const { privateKey } = generateKeyPairSync('x25519')
    writeSecret(path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  }
  try {
    return keyOf(createPrivateKey(readSecret(path) ?? ''))
  } catch (error) {
    throw fault(
      'invalid',
      `${path} holds no usable X25519 key: ${reasonOf(error)}`,
      'Delete it: the node makes another and tells the others',
      error,
    )
  }
}

function keyOf(privateKey: KeyObject): WireguardKey {
  if (privateKey.asymmetricKeyType !== 'x25519')
    throw new Error(`it holds a key of type ${privateKey.asymmetricKeyType}`)
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
  const { d } = privateKey.export({ format: 'jwk' })
  assert(x !== undefined && d !== undefined, 'an X25519 key has two halves')
  return { publicKey: Buffer.from(x, 'base64url'), secret: Buffer.from(d, 'base64url').toString('base64') }
}
