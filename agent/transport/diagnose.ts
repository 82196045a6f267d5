/**
 * Why a connection did not come about: libp2p's and the kernel's errors as kinds, and each kind as a sentence with a remedy. Pure.
 *
 * 'refused' is said only when the machine itself answered that nothing listens (ECONNREFUSED on every address): the failure detector takes it
 * for the death of the agent (design.md 4), so a guess is not good enough.
 */
import { reasonOf } from '../fault.ts'
import { clockLimitMs, type Refusal, type RefusalReason } from './hello.ts'

/** Stages before the hello, then what the hello said. */
export type DialFailure =
  | {
      readonly kind: 'name' | 'no-route' | 'refused' | 'timeout' | 'silent' | 'reset' | 'self' | 'impostor'
      readonly detail: string
    }
  | { readonly kind: 'refusal'; readonly refusal: Refusal }
  /** We do not accept who answered. */
  | { readonly kind: 'distrust'; readonly reason: RefusalReason }

/** What Noise says when another key answers than the address named. */
export const impostorSentence = 'does not match expected remote identity key'

/** A dial's thrown error. `reached`: a TCP connection had been opened. */
export function dialFailureOf(error: unknown, reached: boolean): DialFailure {
  const detail = reasonOf(error)
  if (error instanceof AggregateError)
    return worst(
      error.errors.map((one) => dialFailureOf(one, reached)),
      detail,
    )
  const code = codeOf(error)
  if (code === 'ECONNREFUSED') return { kind: 'refused', detail }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EAI_NODATA') return { kind: 'name', detail }
  if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH' || code === 'EADDRNOTAVAIL' || code === 'EACCES')
    return { kind: 'no-route', detail }
  if (code === 'ECONNRESET' || code === 'EPIPE') return { kind: 'reset', detail }
  const name = error instanceof Error ? error.name : ''
  if (name === 'InvalidPeerIdError') return { kind: 'self', detail }
  if (name === 'TimeoutError' || name === 'AbortError' || code === 'ETIMEDOUT')
    return { kind: reached ? 'silent' : 'timeout', detail }
  if (detail.includes(impostorSentence)) return { kind: 'impostor', detail }
  // Noise answered, but its prologue (the cluster's tag) was another.
  if (detail.includes('validation fail')) return { kind: 'distrust', reason: 'other-cluster' }
  return { kind: reached ? 'silent' : 'timeout', detail }
}

/** Of several addresses: what got furthest says most; refused only when all are. */
function worst(failures: readonly DialFailure[], detail: string): DialFailure {
  const furthest = (
    ['distrust', 'impostor', 'silent', 'reset', 'timeout', 'no-route', 'name', 'refused', 'self'] as const
  )
    .map((kind) => failures.find((failure) => failure.kind === kind))
    .find((failure) => failure !== undefined)
  return furthest ?? { kind: 'no-route', detail }
}

/** For counters and logs. */
export function failureWord(failure: DialFailure): string {
  if (failure.kind === 'refusal') return failure.refusal.reason
  return failure.kind === 'distrust' ? failure.reason : failure.kind
}

export interface JoinProblem {
  /** As it was given. */
  readonly address: string
  readonly kind: DialFailure['kind'] | RefusalReason
  readonly sentence: string
  readonly fix: string
}

export interface Sought {
  readonly address: string
  readonly host: string
  readonly port: number
  /** Ports of our own control plane, and of the mesh beside it. */
  readonly ownPort: number
  readonly ownVersion: number
}

/** A person reads this within 5 s of a join that does not work (issue 2). */
export function problemOf(failure: DialFailure, sought: Sought): JoinProblem {
  const { address, host, port } = sought
  const at = `${host}:${port}`
  const say = (kind: JoinProblem['kind'], sentence: string, fix: string) => ({ address, kind, sentence, fix })
  switch (failure.kind) {
    case 'name':
      return say('name', `The name ${host} does not resolve`, 'Check the name, or join by an IP address')
    case 'no-route':
      return say('no-route', `There is no route to ${host}`, "Check the address and this machine's network")
    case 'refused':
      return say(
        'refused',
        `${at} refuses connections: no agent listens there`,
        `Start the agent on ${host}, or check its --listen port`,
      )
    case 'timeout':
      return say(
        'timeout',
        `${at} does not answer: a firewall drops the packets, or the machine is off`,
        `Open TCP ports ${port} and ${port + 1} on ${host}`,
      )
    case 'silent':
    case 'reset':
      return say(
        failure.kind,
        `${at} accepts connections but does not answer as a Grapevine agent`,
        `Check that ${port} is the agent's --listen port; if the agent there is stopped or overloaded, this goes on by itself`,
      )
    case 'self':
      return say('self', `${at} is this agent itself`, 'Give the address of another node to --join')
    case 'impostor':
      return say(
        'impostor',
        `Another node than the one in the join address answers at ${at}`,
        'Take the join address anew from `vine token`, or leave out its /p2p/ part',
      )
    case 'distrust':
      return sentenceOf(failure.reason, undefined, sought)
    case 'refusal':
      return sentenceOf(failure.refusal.reason, failure.refusal, sought)
  }
}

function sentenceOf(kind: RefusalReason, refusal: Refusal | undefined, sought: Sought): JoinProblem {
  const { address, ownPort, ownVersion } = sought
  const at = `${sought.host}:${sought.port}`
  const detail = refusal?.detail === undefined ? '' : ` (${refusal.detail})`
  const newToken = 'Print a new one with `vine token` on any node of the cluster'
  const say = (sentence: string, fix: string) => ({ address, kind, sentence, fix })
  switch (kind) {
    case 'version':
      return say(
        `${at} speaks protocol version ${refusal?.number ?? 'unknown'}, this agent ${ownVersion}`,
        'Run the same release of Grapevine on all nodes',
      )
    case 'other-cluster':
      return say(
        `${at} belongs to another cluster`,
        'Take the address and the token from the same cluster, or start with an empty --data-dir',
      )
    case 'not-a-member':
      return say(
        `${at} has not been admitted to the cluster itself yet`,
        'Join by another node; this goes on by itself',
      )
    case 'bad-certificate':
      return say(`The certificate of one side is not valid${detail}`, 'Join with a token and an empty --data-dir')
    case 'removed':
      return say(
        'This node, or the one it was admitted by, was removed from the cluster',
        'Join with a token and an empty --data-dir',
      )
    case 'token-unknown':
      return say(`${at} does not know this token`, newToken)
    case 'token-expired':
      return say('The token has expired', newToken)
    case 'clock':
      return say(
        clockSentence(refusal?.number ?? 0, at),
        'Set the clocks of both machines (NTP), then this goes on by itself',
      )
    case 'port-closed':
      return say(
        `${at} cannot reach this node${detail}`,
        `Open TCP ports ${ownPort} and ${ownPort + 1} here, or give the address that others reach with --advertise`,
      )
    case 'cannot-admit':
      return say(`${at} may not admit nodes${detail}`, 'Join by another node')
    case 'malformed':
      return say(`${at} did not understand this agent`, 'Run the same release of Grapevine on all nodes')
  }
}

function clockSentence(offsetMs: number, at: string): string {
  const seconds = Math.round(Math.abs(offsetMs) / 1000)
  const side = offsetMs > 0 ? 'ahead of' : 'behind'
  return `This machine's clock is ${seconds} s ${side} that of ${at}; at most ${clockLimitMs / 1000} s are accepted`
}

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}
