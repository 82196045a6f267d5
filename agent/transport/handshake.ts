/**
 * Runs the hello over a fresh channel, from both sides. Owns the order and the time limit; what is accepted is decided in hello.ts.
 *
 * Frames that arrive behind the last hello message wait in the inbox until `Link` takes the channel over, so none is lost in between.
 */
import type { Stream } from '@libp2p/interface'
import type { z } from 'zod'
import { decode, encode } from '../../protocol/codec.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { admit } from '../trust/certificate.ts'
import type { Identity } from '../trust/identity.ts'
import type { Clock } from '../world.ts'
import type { KnownMember } from './admission.ts'
import { type Channel, openChannel } from './channel.ts'
import type { DialFailure } from './diagnose.ts'
import { encodeFrame, type Frame, frameKinds } from './frames.ts'
import {
  answerGreet,
  claimSchema,
  greetingSchema,
  greetSchema,
  judgeClaim,
  judgeGreeting,
  ownVersion,
  type Refusal,
  refusalSchema,
  refuse,
  type Standing,
  type Welcome,
  welcomeSchema,
} from './hello.ts'

export interface Peer {
  readonly node: NodeId
  readonly peerId: string
  readonly publicKey: Uint8Array
}

export interface HelloContext {
  readonly identity: Identity
  readonly clock: Clock
  readonly helloMs: number
  readonly build: string
  readonly standing: () => Standing
  readonly listen: () => readonly string[]
  /** Undefined when the joiner's port answers with its key; else what was tried and how it failed. */
  readonly dialBack: (peer: Peer, listen: readonly string[]) => Promise<string | undefined>
}

export interface DialerWish {
  readonly fresh: boolean
  readonly secret: Uint8Array | undefined
}

/** A channel whose other end is admitted; frames that came early are handed to `take` first. */
export interface OpenLink {
  readonly channel: Channel
  take(onFrame: (frame: Frame) => void, onClosed: (why: string) => void): void
}

export type HelloOutcome =
  | { readonly kind: 'open'; readonly link: OpenLink; readonly welcome: Welcome }
  | { readonly kind: 'failed'; readonly failure: DialFailure }

/** Longest frame before admission: a certificate of full length and its claim. */
const strangerFrameBytesMax = 16 * 1024
/** A welcome may hold the seed and all members. */
const welcomeFrameBytesMax = 4 * limits.requestBytesMax
/** After admission: a request of full size with its head. */
const memberFrameBytesMax = limits.requestBytesMax + 1024
/** Frames that may wait for `take`. */
const earlyFramesMax = 64

export async function helloAsDialer(
  stream: Stream,
  peer: Peer,
  wish: DialerWish,
  context: HelloContext,
): Promise<HelloOutcome> {
  const talk = conversation(stream, context, welcomeFrameBytesMax)
  const own = context.standing()
  talk.say({ say: 'greet', cluster: own.cluster, wallMs: context.clock.wall(), build: context.build })
  const greeting = await talk.hear(greetingSchema)
  if (greeting.kind !== 'heard') return talk.fail(greeting)
  const distrust = judgeGreeting(greeting.value, peer.node, own)
  if (distrust !== undefined) return talk.fail({ kind: 'failed', failure: { kind: 'distrust', reason: distrust } })
  const proof = own.certificate !== undefined ? { certificate: own.certificate } : { secret: wish.secret }
  talk.say({ say: 'claim', ...proof, listen: context.listen(), fresh: wish.fresh })
  const welcome = await talk.hear(welcomeSchema)
  if (welcome.kind !== 'heard') return talk.fail(welcome)
  return { kind: 'open', link: talk.finish(), welcome: welcome.value }
}

export async function helloAsAccepter(stream: Stream, peer: Peer, context: HelloContext): Promise<HelloOutcome> {
  const talk = conversation(stream, context, strangerFrameBytesMax)
  const own = context.standing()
  const greet = await talk.hear(greetSchema)
  if (greet.kind !== 'heard') return talk.fail(greet)
  const greetedAtMs = context.clock.wall()
  const greeting = answerGreet(greet.value, peer.node, own, greetedAtMs)
  if (greeting.say === 'refuse') return talk.refuse(greeting)
  talk.say(greeting)
  const claim = await talk.hear(claimSchema)
  if (claim.kind !== 'heard') return talk.fail(claim)
  const facts = { claim: claim.value, greet: greet.value, peer: peer.node, greetedAtMs, wallMs: context.clock.wall() }
  const verdict = judgeClaim(facts, own)
  if (verdict.kind === 'refused') return talk.refuse(verdict.refusal)
  const certificate = verdict.kind === 'newcomer' ? await certify(peer, claim.value.listen, own, context) : undefined
  if (certificate !== undefined && 'say' in certificate) return talk.refuse(certificate)
  const welcome: Welcome = {
    say: 'welcome',
    ...(certificate === undefined ? {} : { certificate: Uint8Array.from(certificate) }),
    ...(claim.value.fresh ? newsFor(peer.node, own, context) : {}),
  }
  talk.say(welcome)
  return { kind: 'open', link: talk.finish(), welcome }
}

/** A newcomer is dialled back before it is admitted: a node that nobody reaches would accuse everybody (design.md 4). */
async function certify(
  peer: Peer,
  listen: readonly string[],
  own: Standing,
  context: HelloContext,
): Promise<Uint8Array | Refusal> {
  const closed = await context.dialBack(peer, listen)
  if (closed !== undefined) return refuse('port-closed', { detail: closed.slice(0, 1_000) })
  if (own.certificate === undefined) return refuse('not-a-member')
  const made = admit({ issuer: context.identity, certificate: own.certificate, subject: peer.publicKey })
  return made.ok ? made.value : refuse('cannot-admit', { detail: made.refusal })
}

function newsFor(newcomer: NodeId, own: Standing, context: HelloContext): Pick<Welcome, 'members' | 'seed'> {
  const self = { node: context.identity.nodeId, peerId: context.identity.peerId, listen: [...context.listen()] }
  const members = [self, ...own.admission.members()].filter((member) => member.node !== newcomer)
  return { members: members.map(copyMember), seed: Uint8Array.from(own.admission.seed()) }
}

function copyMember(member: KnownMember): { node: string; peerId: string; listen: string[] } {
  return { node: member.node, peerId: member.peerId, listen: [...member.listen] }
}

type Heard<T> =
  | { readonly kind: 'heard'; readonly value: T }
  | { readonly kind: 'failed'; readonly failure: DialFailure }

function conversation(stream: Stream, context: HelloContext, bytesMax: number) {
  const inbox: Frame[] = []
  let done = false
  let ended: string | undefined
  let wake: (() => void) | undefined
  let deliver: ((frame: Frame) => void) | undefined
  let tellClosed: ((why: string) => void) | undefined

  const channel = openChannel(stream, {
    frameBytesMax: () => (done ? memberFrameBytesMax : bytesMax),
    onFrame(frame) {
      if (deliver !== undefined) return deliver(frame)
      if (inbox.length >= earlyFramesMax) return channel.close('too many frames before the hello')
      inbox.push(frame)
      wake?.()
    },
    onClosed(why) {
      ended = why
      wake?.()
      tellClosed?.(why)
    },
  })
  const cancel = context.clock.after(context.helloMs, () => channel.close('the hello timed out'))

  function say(message: object): void {
    channel.send(encodeFrame(frameKinds.hello, encode(message)))
  }

  async function hear<T>(schema: z.ZodType<T>): Promise<Heard<T>> {
    if (inbox.length === 0 && ended === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const frame = inbox.shift()
    if (frame === undefined) return { kind: 'failed', failure: { kind: 'silent', detail: ended ?? 'closed' } }
    if (frame.kind !== frameKinds.hello) return misunderstood('a frame out of order')
    const decoded = decode(frame.body)
    if (decoded.kind === 'version') {
      say(refuse('version', { number: ownVersion }))
      const number = decoded.version
      return {
        kind: 'failed',
        failure: { kind: 'refusal', refusal: refuse('version', number === undefined ? {} : { number }) },
      }
    }
    if (decoded.kind === 'malformed') return misunderstood(decoded.reason)
    const refusal = refusalSchema.safeParse(decoded.value)
    if (refusal.success) return { kind: 'failed', failure: { kind: 'refusal', refusal: refusal.data } }
    const message = schema.safeParse(decoded.value)
    return message.success ? { kind: 'heard', value: message.data } : misunderstood('a message of another form')
  }

  function misunderstood(detail: string): Heard<never> {
    return {
      kind: 'failed',
      failure: { kind: 'refusal', refusal: refuse('malformed', { detail: detail.slice(0, 200) }) },
    }
  }

  function fail(failed: { readonly kind: 'failed'; readonly failure: DialFailure }): HelloOutcome {
    leave()
    return { kind: 'failed', failure: failed.failure }
  }

  function refusePeer(refusal: Refusal): HelloOutcome {
    say(refusal)
    leave()
    return { kind: 'failed', failure: { kind: 'refusal', refusal } }
  }

  /** The last words must get out: the stream is closed for writing, and the caller ends the connection a moment later. */
  function leave(): void {
    cancel()
    stream.close().catch(() => channel.close('done'))
  }

  function finish(): OpenLink {
    cancel()
    done = true
    return { channel, take }
  }

  function take(onFrame: (frame: Frame) => void, onClosed: (why: string) => void): void {
    if (ended !== undefined) {
      onClosed(ended)
      return
    }
    deliver = onFrame
    tellClosed = onClosed
    for (const frame of inbox.splice(0)) onFrame(frame)
  }

  return { say, hear, fail, refuse: refusePeer, finish }
}
