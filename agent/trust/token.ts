/**
 * Join tokens: what a person pastes on a new machine so that it is admitted.
 *
 * `VINE-1-<base32>` holds the cluster id (the hash of the cluster key, so the joiner can check who answers it), 256 random bits, the expiry and a
 * check sum against a lost character. Members hold only the hash of the secret, in a record; the joiner shows the secret itself, and only
 * inside an encrypted channel to a node that has proven its membership (transport/hello.ts). A token admits, it never speaks for a node.
 */
import { createHash } from 'node:crypto'
import { type Fault, fault } from '../fault.ts'
import { clusterBytes, clusterOfBytes } from './certificate.ts'
import { base32, fromBase32 } from './text.ts'

export interface Token {
  /** Cluster id: also the fingerprint of the cluster key (128 bits). */
  readonly cluster: string
  readonly secret: Uint8Array
  /** Wall ms, whole seconds; undefined: never. Told to people; what counts is the expiry in the members' record. */
  readonly expiresMs: number | undefined
}

export const tokenSecretBytes = 32
const prefix = 'VINE-1-'
const expiryBytes = 5
const checkBytes = 3
const bodyBytes = 16 + tokenSecretBytes + expiryBytes

export function printToken(token: Token): string {
  const body = Buffer.alloc(bodyBytes)
  body.set(clusterBytes(token.cluster), 0)
  body.set(token.secret, 16)
  body.writeUIntBE(
    token.expiresMs === undefined ? 0 : Math.ceil(token.expiresMs / 1000),
    bodyBytes - expiryBytes,
    expiryBytes,
  )
  return prefix + base32(Buffer.concat([body, checkSum(body)]))
}

/** White space around and inside is ignored: a terminal may have wrapped the line. */
export function parseToken(text: string): Token | Fault {
  const compact = text.replace(/\s/g, '').toUpperCase()
  if (/^VINE-[0-9]+-/.test(compact) && !compact.startsWith(prefix)) {
    return badToken('This token was made by another version of Grapevine')
  }
  if (!compact.startsWith(prefix) || compact.length > 200) return badToken('This is not a join token')
  const bytes = fromBase32(compact.slice(prefix.length))
  if (bytes === undefined || bytes.length !== bodyBytes + checkBytes) return badToken('The join token is incomplete')
  const body = Buffer.from(bytes.subarray(0, bodyBytes))
  if (!checkSum(body).equals(bytes.subarray(bodyBytes))) return badToken('The join token is damaged')
  const expires = body.readUIntBE(bodyBytes - expiryBytes, expiryBytes)
  return {
    cluster: clusterOfBytes(body.subarray(0, 16)),
    secret: Uint8Array.from(body.subarray(16, 16 + tokenSecretBytes)),
    expiresMs: expires === 0 ? undefined : expires * 1000,
  }
}

/** What members keep of a token: enough to recognise it, useless to anyone who reads the state. */
export function tokenHash(secret: Uint8Array): Uint8Array {
  return createHash('sha256').update('grapevine token 1\0').update(secret).digest()
}

/** The id of a token's record: its hash in hex, so that a shown secret finds its record without a search. */
export function tokenId(hash: Uint8Array): string {
  return Buffer.from(hash).toString('hex')
}

function badToken(sentence: string): Fault {
  return fault(
    'invalid',
    sentence,
    'Print a new one with `vine token` on any node of the cluster, and paste the whole line',
  )
}

function checkSum(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, checkBytes)
}
