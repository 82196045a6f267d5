// What a hello says to a node that was removed: the signed record, since the node was cut off before gossip could tell it.
import { expect, test } from 'vitest'
import { answerGreet, type Claim, judgeClaim, type Standing } from '../../../agent/transport/hello.ts'

const removal = { by: 'm1', atMs: 5, signature: Uint8Array.of(1) }
const own: Standing = {
  cluster: 'c',
  certificate: Uint8Array.of(2),
  admission: {
    isMember: () => false,
    isRemoved: (node) => node === 'gone',
    removal: (node) => (node === 'gone' ? removal : undefined),
    token: () => undefined,
    members: () => [],
    nameOf: () => undefined,
    seed: () => new Uint8Array(),
  },
}
const greet = { say: 'greet', cluster: 'c', wallMs: 0, build: '' } as const

test('a removed node is shown the record that removed it, at its greet and at its claim', () => {
  const refusal = { say: 'refuse', reason: 'removed', removal }
  expect(answerGreet(greet, 'gone', own, 0)).toEqual(refusal)
  const claim: Claim = { say: 'claim', listen: [], fresh: false }
  const facts = { claim, greet, peer: 'gone', greetedAtMs: 0, wallMs: 0 }
  expect(judgeClaim(facts, own)).toEqual({ kind: 'refused', refusal })
})

test('a stranger is shown nothing of it', () => {
  expect(answerGreet(greet, 'other', own, 0)).toMatchObject({ say: 'greeting' })
})
