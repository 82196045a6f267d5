/**
 * What members say of each other, and which of two sayings holds: SWIM's precedence (Das, Gupta, Motivala 2002, section 4.2).
 *
 * A claim is about one incarnation of its subject. Only the subject raises its incarnation, so only it can refute; everybody else can
 * doubt the incarnation that they know, and no other.
 */
import { z } from 'zod'
import type { NodeId } from '../../../protocol/ids.ts'

export const claimSchema = z.object({
  node: z.string().min(1).max(64),
  says: z.enum(['alive', 'suspect', 'dead']),
  incarnation: z.number().int().nonnegative(),
  /** Who observed it: the subject itself when it says alive. */
  by: z.string().min(1).max(64),
  /** Why it is doubted or dead: nothing listens there any more, or it does not answer. */
  cause: z.enum(['refused', 'silent', '']),
  /** Of 'alive': the run of its agent (member record), so that records of an earlier run are not taken for this one's. */
  run: z.string().max(64).optional(),
  /** Other members that saw the same. */
  confirmedBy: z.array(z.string().max(64)).max(8),
})

export type Claim = z.infer<typeof claimSchema>

const weight = { alive: 0, suspect: 1, dead: 2 } as const

/** Whether `claim` changes what is held of its subject. Equal claims change nothing, so rumours end. */
export function overrides(claim: Claim, held: { readonly says: Claim['says']; readonly incarnation: number }): boolean {
  if (claim.incarnation !== held.incarnation) return claim.incarnation > held.incarnation
  return weight[claim.says] > weight[held.says]
}

/** Whether the node has to answer for itself: somebody doubts its present incarnation, or a later one that it forgot. */
export function mustRefute(claim: Claim, self: NodeId, incarnation: number): boolean {
  return claim.node === self && claim.says !== 'alive' && claim.incarnation >= incarnation
}
