/**
 * Who may be here: certificates (a chain of delegations from the cluster key to a node) and removals, both checked by anyone, offline.
 *
 * Founding makes a cluster key, signs the founder's delegation with it and forgets the private half: there is no key whose theft is the
 * cluster's end. Every full member may admit; its signature and its own chain make the newcomer's certificate. A chain has no dates, since
 * clocks of machines that slept are wrong; it ends only by a removal, which is kept for ever (design.md 11).
 */
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { idFromBytes, isId, type NodeId } from '../../protocol/ids.ts'
import { assert } from '../fault.ts'
import { type Identity, isSignedBy, nodeIdOf, publicKeyBytes, rawPublicKey, signatureBytes } from './identity.ts'

/** Why a certificate or a removal does not count. */
export type TrustRefusal =
  | 'malformed'
  | 'other-cluster'
  | 'other-node'
  | 'bad-signature'
  | 'not-allowed'
  | 'chain-too-long'
  | 'issuer-removed'

export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusal: TrustRefusal }

export interface Certificate {
  readonly cluster: string
  readonly node: NodeId
  readonly publicKey: Uint8Array
  /** From the founder to the node that signed last; empty for the founder. */
  readonly issuers: readonly NodeId[]
  readonly rights: Rights
}

export interface Rights {
  readonly admit: boolean
  readonly remove: boolean
}

/** What every member gets unless an operator says otherwise. */
export const fullRights: Rights = { admit: true, remove: true }

/**
 * 24: each node admitted by the one before it is the worst case, and 24 links are 2.6 KB. A member at the end of a chain refuses to admit
 * with 'chain-too-long'; any member nearer the founder can.
 */
export const chainMax = 24

/** Founds a cluster: its id, and the founder's certificate. */
export function foundCluster(founder: Identity): { readonly cluster: string; readonly certificate: Uint8Array } {
  const { privateKey } = generateKeyPairSync('ed25519')
  const root = rawPublicKey(privateKey)
  const body = linkBody(founder.publicKey, fullRights)
  const signature = sign(null, statement(root, root, body), privateKey)
  return {
    cluster: clusterIdOf(root),
    certificate: Buffer.concat([Uint8Array.of(format), root, body, signature]),
  }
}

export interface Admitting {
  readonly issuer: Identity
  /** The issuer's own, already checked. */
  readonly certificate: Uint8Array
  readonly subject: Uint8Array
  readonly rights?: Rights
}

/** Signs a newcomer's certificate, the issuer's chain and one more link. Rights beyond the issuer's own are not passed on. */
export function admit(admitting: Admitting): Checked<Uint8Array> {
  const own = parse(admitting.certificate)
  if (own === undefined) return refuse('malformed')
  const last = own.links.at(-1)
  if (last === undefined || nodeIdOf(last.subject) !== admitting.issuer.nodeId) return refuse('other-node')
  if (!last.rights.admit) return refuse('not-allowed')
  if (own.links.length >= chainMax) return refuse('chain-too-long')
  const wanted = admitting.rights ?? fullRights
  const rights = { admit: wanted.admit && last.rights.admit, remove: wanted.remove && last.rights.remove }
  const body = linkBody(admitting.subject, rights)
  const signature = admitting.issuer.sign(statement(own.root, admitting.issuer.publicKey, body))
  return { ok: true, value: Buffer.concat([admitting.certificate, body, signature]) }
}

export interface CertificateCheck {
  readonly cluster: string
  /** The node that shows it; undefined where any subject will do. */
  readonly node?: NodeId
  /** A removed node may have signed with an old date, so what it signed counts only for nodes that are known already. */
  readonly isRemoved: (node: NodeId) => boolean
  readonly isMember: (node: NodeId) => boolean
}

/** Checks a certificate. Whether the subject itself is removed is asked by the caller, who has a better sentence for it. */
export function checkCertificate(bytes: Uint8Array, check: CertificateCheck): Checked<Certificate> {
  const parsed = parse(bytes)
  if (parsed === undefined) return refuse(bytes.length > bytesMax ? 'chain-too-long' : 'malformed')
  const { root, links } = parsed
  if (clusterIdOf(root) !== check.cluster) return refuse('other-cluster')
  let issuer = root
  for (const [at, link] of links.entries()) {
    if (at > 0 && !links[at - 1]!.rights.admit) return refuse('not-allowed')
    if (!isSignedBy(issuer, statement(root, issuer, link.body), link.signature)) return refuse('bad-signature')
    issuer = link.subject
  }
  const nodes = links.map((link) => nodeIdOf(link.subject))
  const node = nodes.at(-1)!
  if (check.node !== undefined && node !== check.node) return refuse('other-node')
  const issuers = nodes.slice(0, -1)
  if (!check.isMember(node) && issuers.some(check.isRemoved)) return refuse('issuer-removed')
  const last = links.at(-1)!
  return { ok: true, value: { cluster: check.cluster, node, publicKey: last.subject, issuers, rights: last.rights } }
}

/** What a removal states: this node, by that one, then (wall ms). */
export interface Removal {
  readonly cluster: string
  readonly node: NodeId
  readonly by: NodeId
  readonly atMs: number
}

/** The `signature` of a removal record: signature, then the remover's certificate, so that it can be checked when the remover is long gone. */
export function signRemoval(removal: Removal, remover: Identity, certificate: Uint8Array): Uint8Array {
  assert(removal.by === remover.nodeId, 'a removal is signed by the node that it names')
  return Buffer.concat([remover.sign(removalStatement(removal)), certificate])
}

export function checkRemoval(removal: Removal, sealed: Uint8Array): Checked<Removal> {
  if (!isId(removal.node) || !isId(removal.by) || !Number.isSafeInteger(removal.atMs)) return refuse('malformed')
  const everyone = { isRemoved: () => false, isMember: () => true }
  const certificate = checkCertificate(sealed.subarray(signatureBytes), {
    cluster: removal.cluster,
    node: removal.by,
    ...everyone,
  })
  if (!certificate.ok) return certificate
  if (!certificate.value.rights.remove) return refuse('not-allowed')
  const signature = sealed.subarray(0, signatureBytes)
  if (!isSignedBy(certificate.value.publicKey, removalStatement(removal), signature)) return refuse('bad-signature')
  return { ok: true, value: removal }
}

/** The cluster id is the fingerprint of the cluster key. */
export function clusterIdOf(clusterKey: Uint8Array): string {
  return idFromBytes(createHash('sha256').update('grapevine cluster 1\0').update(clusterKey).digest())
}

/** A public tag for the Noise prologue: two clusters on one wire never get as far as a handshake. No secret. */
export function clusterTag(cluster: string): Uint8Array {
  return createHash('sha256').update('grapevine tag 1\0').update(cluster).digest()
}

/** The 16 bytes that a cluster id was made of. */
export function clusterBytes(cluster: string): Uint8Array {
  let value = 0n
  for (const character of cluster) value = value * 36n + BigInt(Number.parseInt(character, 36))
  assert(isId(cluster) && value < 1n << 128n, 'a cluster id is 25 characters of base36 and holds 128 bits')
  return Buffer.from(value.toString(16).padStart(32, '0'), 'hex')
}

export function clusterOfBytes(bytes: Uint8Array): string {
  return idFromBytes(bytes)
}

interface Link {
  readonly body: Uint8Array
  readonly subject: Uint8Array
  readonly rights: Rights
  readonly signature: Uint8Array
}

/** Wire form: format, cluster key, then links of (subject, rights, signature). */
const format = 1
const headBytes = 1 + publicKeyBytes
const linkBodyBytes = publicKeyBytes + 1
const linkBytes = linkBodyBytes + signatureBytes
const bytesMax = headBytes + chainMax * linkBytes

function parse(bytes: Uint8Array): { readonly root: Uint8Array; readonly links: readonly Link[] } | undefined {
  const rest = bytes.length - headBytes
  if (bytes[0] !== format || rest < linkBytes || rest % linkBytes !== 0 || bytes.length > bytesMax) return undefined
  const links: Link[] = []
  for (let at = headBytes; at < bytes.length; at += linkBytes) {
    const body = bytes.subarray(at, at + linkBodyBytes)
    const rights = body[publicKeyBytes]!
    if (rights > 3) return undefined
    links.push({
      body,
      subject: body.subarray(0, publicKeyBytes),
      rights: { admit: (rights & 1) !== 0, remove: (rights & 2) !== 0 },
      signature: bytes.subarray(at + linkBodyBytes, at + linkBytes),
    })
  }
  return { root: bytes.subarray(1, headBytes), links }
}

function linkBody(subject: Uint8Array, rights: Rights): Uint8Array {
  assert(subject.length === publicKeyBytes, 'a subject is a raw Ed25519 public key')
  return Buffer.concat([subject, Uint8Array.of((rights.admit ? 1 : 0) | (rights.remove ? 2 : 0))])
}

/** Signed bytes name their purpose and cluster, so that no signature can be read as another statement. */
function statement(root: Uint8Array, issuer: Uint8Array, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('grapevine delegation 1\0'), root, issuer, body])
}

function removalStatement(removal: Removal): Uint8Array {
  return Buffer.from(`grapevine removal 1\0${removal.cluster}\0${removal.node}\0${removal.by}\0${removal.atMs}`)
}

function refuse(refusal: TrustRefusal): { readonly ok: false; readonly refusal: TrustRefusal } {
  return { ok: false, refusal }
}
