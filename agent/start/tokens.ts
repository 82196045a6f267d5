/**
 * Prints and ends join tokens. The secret leaves this process once, in the answer; members keep its hash.
 */
import type { Held, IssuedToken, TokenDesk } from '../api/context.ts'
import { printToken, tokenHash, tokenId, tokenSecretBytes } from '../trust/token.ts'
import type { ReplicatedView } from '../view.ts'
import type { Clock, Random } from '../world.ts'

export interface TokenDeskOptions {
  readonly view: ReplicatedView
  readonly cluster: string
  readonly clock: Clock
  readonly random: Random
  /** An address of this agent that another machine can reach, as a multiaddr. */
  readonly address: () => string
}

export function createTokenDesk({ view, cluster, clock, random, address }: TokenDeskOptions): TokenDesk {
  return {
    async issue(ttlMs): Promise<IssuedToken> {
      const secret = random.bytes(tokenSecretBytes)
      const expiresMs = ttlMs === undefined ? undefined : Math.floor(clock.wall()) + ttlMs
      const hash = new Uint8Array(tokenHash(secret))
      const value = { hash, created: view.stamp(), expiresMs: expiresMs ?? null }
      const { held } = await view.commit([{ scope: 'cluster', kind: 'token', id: tokenId(hash), value }])
      const token = printToken({ cluster, secret, expiresMs })
      return { token, join: `vine agent --join ${address()} --token ${token}`, expiresMs, held }
    },
    async revokeAll(): Promise<Held> {
      const ids = [...view.tokens.keys()].sort()
      if (ids.length === 0) return 'members'
      const { held } = await view.commit(
        ids.map((id) => ({ scope: 'cluster', kind: 'token', id, value: null }) as const),
      )
      return held
    },
  }
}
