/**
 * The self-signed certificate of an agent: its Ed25519 key in the form that TLS wants, and nothing else.
 *
 * TLS proves possession of the key; who may speak is membership's matter, so the certificate has no meaningful dates, names or
 * extensions, and nobody checks them (design.md 2). DER by hand, since Node makes no certificates: RFC 5280, RFC 8410.
 */
import { createPublicKey, type KeyObject, sign, type X509Certificate } from 'node:crypto'

/** PEM of a self-signed certificate for this Ed25519 private key. Equal keys give equal certificates. */
export function selfSigned(privateKey: KeyObject): string {
  const name = sequence(set(sequence(objectId(commonName), tlv(0x0c, Buffer.from('grapevine')))))
  const validity = sequence(tlv(0x17, Buffer.from('700101000000Z')), tlv(0x18, Buffer.from('99991231235959Z')))
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  const version3 = tlv(0xa0, tlv(0x02, Buffer.of(2)))
  const serial = tlv(0x02, Buffer.of(1))
  const algorithm = sequence(objectId(ed25519))
  const toBeSigned = sequence(version3, serial, algorithm, name, validity, name, publicKey)
  const signature = sign(null, toBeSigned, privateKey)
  const whole = sequence(toBeSigned, algorithm, tlv(0x03, Buffer.concat([Buffer.of(0), signature])))
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/** The 32 raw bytes of the key in a certificate; undefined for any other kind of key. */
export function ed25519KeyOf(certificate: X509Certificate): Uint8Array | undefined {
  const key = certificate.publicKey
  if (key.asymmetricKeyType !== 'ed25519') return undefined
  const x = key.export({ format: 'jwk' }).x
  return x === undefined ? undefined : new Uint8Array(Buffer.from(x, 'base64url'))
}

/** 1.3.101.112, RFC 8410. */
const ed25519 = Buffer.of(0x2b, 0x65, 0x70)
/** 2.5.4.3. */
const commonName = Buffer.of(0x55, 0x04, 0x03)

function objectId(encoded: Buffer): Buffer {
  return tlv(0x06, encoded)
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts))
}

function set(...parts: readonly Buffer[]): Buffer {
  return tlv(0x31, Buffer.concat(parts))
}

/** Tag, length, value. Lengths up to 65,535, which no part of ours reaches. */
function tlv(tag: number, value: Buffer): Buffer {
  const length = value.length
  const head =
    length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >>> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), value])
}
