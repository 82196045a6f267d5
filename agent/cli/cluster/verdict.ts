/** Is it well? Made of the agent's own account (`/grapevine/status`). Pure. */
export interface Verdict {
  readonly well: boolean
  /** One line when all is well. */
  readonly summary: string
  /** A sentence for each thing that is not. */
  readonly problems: readonly string[]
}

export interface Status {
  readonly well: boolean
}

export function verdict(status: Status): Verdict {
  return { well: status.well, summary: '', problems: [] }
}
