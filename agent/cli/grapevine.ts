/**
 * The documents under /grapevine/ that the CLI reads. Types only; the agent's side is agent/api/handlers/grapevine.ts.
 */

/** `GET /grapevine/status`: is it well, as the agent sees it. */
export interface Status {
  readonly well: boolean
  /** One line: all is well, or how many things are not. */
  readonly summary: string
  /** A sentence for each thing that needs somebody. */
  readonly problems: readonly string[]
  /** Worth knowing, and no reason to act. */
  readonly notes: readonly string[]
}

/** `GET /grapevine/why/{service}`. */
export interface Why {
  readonly service: string
  readonly name: string
  /** Why the service as a whole does not run: a conflict of names or ports. */
  readonly conflict?: string
  /** Without a node where nobody holds the slot; the sentence says why. */
  readonly slots: readonly { readonly slot: string; readonly node?: string; readonly sentence: string }[]
}

/** `POST /grapevine/token`. */
export interface IssuedToken {
  readonly token: string
  /** The command to paste on the machine that joins. */
  readonly join: string
  /** RFC 3339; null: never. */
  readonly expires: string | null
}

/** `GET /grapevine/resolve`. */
export interface Resolved {
  /** DNS response code: NOERROR, NXDOMAIN, SERVFAIL. */
  readonly code: string
  readonly answers: readonly {
    readonly name: string
    readonly type: string
    readonly ttlSeconds: number
    readonly data: string
  }[]
}

/** A line of `GET /grapevine/events`. */
export interface NodeEvent {
  /** Wall ms. */
  readonly atMs: number
  readonly type: string
  readonly action: string
  readonly id: string
  readonly name: string
  /** With cause and observer. */
  readonly sentence: string
  readonly attributes: Readonly<Record<string, string>>
}

/** A row of `GET /grapevine/flows`: counters since the agent began, a row a service and entry. */
export interface FlowCounters {
  readonly service: string
  readonly name: string
  readonly opened: number
  readonly active: number
  readonly failed: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** A row of `GET /grapevine/doctor`. */
export interface Finding {
  readonly check: string
  readonly ok: boolean
  readonly sentence: string
  readonly fix?: string
}
