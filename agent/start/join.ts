/**
 * How this node comes into its cluster: it founds one, comes back to the one on its disk, or is let in by a member.
 */
import type { AgentConfig } from '../config.ts'
import { Fault, fault } from '../fault.ts'
import type { Libp2pTransport } from '../transport/transport.ts'
import { foundCluster } from '../trust/certificate.ts'
import type { Identity } from '../trust/identity.ts'
import { parseToken, type Token } from '../trust/token.ts'
import type { Clock } from '../world.ts'
import type { Belonging } from './place.ts'

/** What is known before anybody was asked. */
export interface Origin {
  readonly cluster: string
  /** Undefined for a newcomer: the member that lets it in gives one. */
  readonly certificate: Uint8Array | undefined
  readonly token: Token | undefined
  readonly isFounder: boolean
}

/** `known`: what the data directory says. Throws a Fault where that and the flags cannot both hold. */
export function originOf(config: AgentConfig, identity: Identity, known: Belonging | undefined): Origin {
  const token = readToken(config)
  if (known !== undefined && token !== undefined && token.cluster !== known.cluster) {
    throw fault(
      'conflict',
      `The data directory ${config.node.dataDir} belongs to cluster ${known.cluster.slice(0, 12)}, the token to ${token.cluster.slice(0, 12)}`,
      'Join with another --data-dir, or without the token to go back to the old cluster',
    )
  }
  if (known !== undefined) return { ...known, token, isFounder: false }
  if (token !== undefined) return { cluster: token.cluster, certificate: undefined, token, isFounder: false }
  if (config.transport.join.length > 0) {
    throw fault('invalid', 'To join a cluster a new node needs a token', 'Print one on any member with: vine token')
  }
  return { ...foundCluster(identity), token, isFounder: true }
}

function readToken(config: AgentConfig): Token | undefined {
  const { token: text, join: addresses } = config.transport
  if (text === undefined) return undefined
  const token = parseToken(text)
  if (token instanceof Fault) throw token
  if (addresses.length === 0) throw fault('invalid', 'a token needs an address to join by', 'Add --join <multiaddr>')
  return token
}

export interface Admitting {
  readonly addresses: readonly string[]
  readonly origin: Origin
  /** Where to say what stands in the way. */
  readonly tell: (text: string) => void
  /** Resolves when the agent is to end instead; from then on nothing is said. */
  readonly ending: Promise<unknown>
  isEnding(): boolean
}

/** Waits for admission where it is needed, and goes on trying for ever. Undefined when the agent was ended meanwhile. */
export async function admit(control: Libp2pTransport, asked: Admitting): Promise<Belonging | undefined> {
  const { addresses, origin, tell } = asked
  const { cluster, certificate } = origin
  let told = ''
  const joining =
    addresses.length === 0
      ? undefined
      : control.join({
          addresses,
          secret: origin.token?.secret,
          onProblems(problems) {
            const text = problems
              .map(({ address, sentence, fix }) => `Cannot join through ${address}: ${sentence}\n  ${fix}\n`)
              .join('')
            // The same trouble is told once, however often it is tried.
            if (text !== told && !asked.isEnding()) tell(`${text}Still trying; Ctrl-C ends\n`)
            told = text
          },
        })
  if (certificate !== undefined) return { cluster, certificate }
  const joined = await Promise.race([joining?.joined, asked.ending.then(() => undefined)])
  if (joined !== undefined) return { cluster, certificate: joined.certificate }
  joining?.stop()
  return undefined
}

/** 1 s: a member that answers at all has said by then who it takes this node for. */
const firstWordMs = 1_000
const lookMs = 20

/**
 * Resolves when a member has taken this node for one of its own, or the node's end is decided, or nobody said a word: before that it would be greeted
 * as a member although the others may have removed it while it was down.
 */
export async function firstWord(
  control: Pick<Libp2pTransport, 'connected'>,
  isDecided: () => boolean,
  clock: Clock,
): Promise<void> {
  const untilMs = clock.now() + firstWordMs
  while (control.connected().length === 0 && !isDecided() && clock.now() < untilMs)
    await new Promise<void>((resolve) => {
      clock.after(lookMs, resolve)
    })
}
