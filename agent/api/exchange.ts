/**
 * One request and its reply, as handlers see them: no sockets, no half-written answers.
 *
 * A handler returns a value or throws a Fault; server.ts alone writes to the wire. So a handler cannot answer twice, and a test can call
 * one without a server.
 */
import type { ApiContext } from './context.ts'

export interface ApiRequest {
  readonly method: string
  /** Path without the version prefix, still encoded, without query. */
  readonly path: string
  /** Decoded values of the `{…}` parts of the route. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** Value of the Accept header, lower case. */
  readonly accept: string
  /** Sent by another agent for its client: it is answered from this node alone and never relayed again. */
  readonly relayed: boolean
  /** It came with a name or token for a registry; what that is stays in the server. */
  readonly hasRegistryAuth: boolean
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal
  /** The body as JSON. Rejects with a Fault when it is not, or is too large. */
  json(): Promise<unknown>
}

export type Reply =
  | { readonly kind: 'json'; readonly status: number; readonly body: unknown; readonly warnings?: readonly string[] }
  | {
      readonly kind: 'text'
      readonly status: number
      readonly type: string
      readonly text: string
      readonly headers?: Readonly<Record<string, string>>
    }
  | { readonly kind: 'empty'; readonly status: number; readonly after?: () => void }
  | { readonly kind: 'stream'; readonly type: string; readonly chunks: AsyncIterable<Uint8Array | string> }
  /** The Docker engine of this machine answers. `absent`: a 404 where none is there; `body`: what was read of the request already. */
  | { readonly kind: 'engine'; readonly absent?: string | undefined; readonly body?: unknown }

export type Handler = (context: ApiContext, request: ApiRequest) => Reply | Promise<Reply>

/** JSON with status 200. Warnings are for people; they travel in a header, so that the body keeps Docker's shape. */
export function json(body: unknown, status = 200, warnings: readonly string[] = []): Reply {
  return { kind: 'json', status, body, warnings }
}

export function empty(status: number, after?: () => void): Reply {
  return after === undefined ? { kind: 'empty', status } : { kind: 'empty', status, after }
}

/** Whether a query parameter is set to true, as Docker reads it: `1`, `true`, `t`. */
export function flag(query: URLSearchParams, name: string): boolean {
  return ['1', 'true', 't', 'yes'].includes((query.get(name) ?? '').toLowerCase())
}
