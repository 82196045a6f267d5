/**
 * The hello: what two agents say to each other on a new connection before it counts. Decides; sends nothing and reads no clock.
 *
 * Noise has proven both keys. The dialer greets; the accepter shows its certificate, so that the dialer knows a member before it says
 * anything secret; the dialer shows its own certificate, or the token's secret; the accepter welcomes it or says why not. A refusal says its reason and
 * nothing else (design.md 11). The clock is checked for newcomers only: a member whose clock jumped must be able to come back.
 */
import { z } from 'zod'
import { protocolVersion } from '../../protocol/codec.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { checkCertificate } from '../trust/certificate.ts'
import { tokenHash, tokenId, tokenSecretBytes } from '../trust/token.ts'
import type { Admission } from './admission.ts'

/** Why a node is not let in, by the other side (`refused`), each with a sentence in diagnose.ts. */
export const refusals = [
  'version',
  'other-cluster',
  'not-a-member',
  'bad-certificate',
  'removed',
  'token-unknown',
  'token-expired',
  'clock',
  'port-closed',
  'cannot-admit',
  'malformed',
] as const
export type RefusalReason = (typeof refusals)[number]

const bytes = z.instanceof(Uint8Array)
const shortText = z.string().max(256)
const listen = z.array(shortText).max(32)
/** 1000 members are the most that one node is meant to see. */
const members = z.array(z.object({ node: shortText, peerId: shortText, listen })).max(2_000)

export const refusalSchema = z.object({
  say: z.literal('refuse'),
  reason: z.enum(refusals),
  /** Clock: the newcomer's offset, ms. Version: the protocol spoken here. */
  number: z.number().optional(),
  /** Port-closed: what was tried, and how it failed. */
  detail: z.string().max(1_024).optional(),
  /** Removed: the signed record, without which the refused node believes nobody (trust/certificate.ts `checkRemoval`). */
  removal: z.object({ by: shortText, atMs: z.number(), signature: bytes }).optional(),
})
export const greetSchema = z.object({
  say: z.literal('greet'),
  cluster: shortText,
  wallMs: z.number(),
  build: shortText,
})
export const greetingSchema = z.object({ say: z.literal('greeting'), certificate: bytes, wallMs: z.number() })
export const claimSchema = z.object({
  say: z.literal('claim'),
  certificate: bytes.optional(),
  secret: bytes.optional(),
  listen,
  /** The dialer starts, and wants the members and the seed. */
  fresh: z.boolean(),
})
export const welcomeSchema = z.object({
  say: z.literal('welcome'),
  certificate: bytes.optional(),
  members: members.optional(),
  seed: bytes.optional(),
})

export type Refusal = z.infer<typeof refusalSchema>
export type Greet = z.infer<typeof greetSchema>
export type Greeting = z.infer<typeof greetingSchema>
export type Claim = z.infer<typeof claimSchema>
export type Welcome = z.infer<typeof welcomeSchema>

/** What this side brings to a hello. */
export interface Standing {
  readonly cluster: string
  /** Own certificate; undefined before admission. */
  readonly certificate: Uint8Array | undefined
  readonly admission: Admission
}

/** 60 s: what receivers of records tolerate too (design.md 3). */
export const clockLimitMs = 60_000

type More = Pick<Refusal, 'number' | 'detail' | 'removal'>

export function refuse(reason: RefusalReason, more: More = {}): Refusal {
  return { say: 'refuse', reason, ...more }
}

/** The accepter's answer to a greet. */
export function answerGreet(greet: Greet, peer: NodeId, own: Standing, wallMs: number): Greeting | Refusal {
  if (greet.cluster !== own.cluster) return refuse('other-cluster')
  if (own.certificate === undefined) return refuse('not-a-member')
  if (own.admission.isRemoved(peer)) return refuse('removed', removalOf(peer, own))
  return { say: 'greeting', certificate: Uint8Array.from(own.certificate), wallMs }
}

/** The dialer's look at who answered: undefined when it is a member of our cluster. */
export function judgeGreeting(greeting: Greeting, peer: NodeId, own: Standing): RefusalReason | undefined {
  if (own.admission.isRemoved(peer)) return 'removed'
  const checked = checkCertificate(greeting.certificate, { cluster: own.cluster, node: peer, ...asked(own.admission) })
  if (checked.ok) return undefined
  return checked.refusal === 'other-cluster' ? 'other-cluster' : 'bad-certificate'
}

export type ClaimVerdict =
  | { readonly kind: 'member' }
  | { readonly kind: 'newcomer' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

export interface ClaimFacts {
  readonly claim: Claim
  readonly greet: Greet
  readonly peer: NodeId
  /** When the greet arrived here. */
  readonly greetedAtMs: number
  readonly wallMs: number
}

/** The accepter's judgement: a member, a newcomer to be dialled back and admitted, or why neither. */
export function judgeClaim(facts: ClaimFacts, own: Standing): ClaimVerdict {
  const { claim, peer } = facts
  if (own.admission.isRemoved(peer)) return refused('removed', removalOf(peer, own))
  if (claim.certificate !== undefined) {
    const checked = checkCertificate(claim.certificate, { cluster: own.cluster, node: peer, ...asked(own.admission) })
    if (checked.ok) return { kind: 'member' }
    return refused(checked.refusal === 'other-cluster' ? 'other-cluster' : 'bad-certificate', {
      detail: checked.refusal,
    })
  }
  if (claim.secret === undefined || claim.secret.length !== tokenSecretBytes) return refused('token-unknown')
  const token = own.admission.token(tokenId(tokenHash(claim.secret)))
  if (token === undefined) return refused('token-unknown')
  if (token.expiresMs !== null && token.expiresMs <= facts.wallMs) return refused('token-expired')
  const offset = facts.greet.wallMs - facts.greetedAtMs
  if (Math.abs(offset) > clockLimitMs) return refused('clock', { number: Math.round(offset) })
  return { kind: 'newcomer' }
}

/** The number that a refusal of another protocol version carries. */
export const ownVersion = protocolVersion

function refused(reason: RefusalReason, more: More = {}): ClaimVerdict {
  return { kind: 'refused', refusal: refuse(reason, more) }
}

function removalOf(node: NodeId, { admission }: Standing): More {
  const removal = admission.removal?.(node)
  return removal === undefined ? {} : { removal }
}

function asked(admission: Admission): { isMember(node: NodeId): boolean; isRemoved(node: NodeId): boolean } {
  return { isMember: (node) => admission.isMember(node), isRemoved: (node) => admission.isRemoved(node) }
}
