/**
 * What a figure of the bench is: how it is asked for, measured, and told. Raw runs are kept as JSON; rows are what RESULTS.md shows.
 *
 * A figure measures from outside of the agents: as their client, by foreign tools, by /proc and the process table. It never asserts: a row
 * that misses is told as missed.
 */

export interface Figure {
  readonly name: string
  /** What is done, a line. */
  readonly title: string
  /** Foreign programs that it needs. */
  readonly tools: readonly string[]
  measure(say: (line: string) => void): Promise<Outcome>
}

export interface Outcome {
  readonly rows: readonly Row[]
  /** Every single measurement, so that a reader can compute other things from it. */
  readonly raw: unknown
}

export interface Row {
  readonly what: string
  readonly wanted: string
  readonly measured: string
  readonly ok: boolean
}

/** A run as it lies in runs/<name>.json. */
export interface Run extends Outcome {
  readonly name: string
  readonly title: string
  readonly at: string
  readonly commit: string
  readonly machine: string
  /** Load averages of 1 minute before and after; other work on the machine makes figures worse. */
  readonly load: readonly [number, number]
  readonly seconds: number
}

/** Nearest rank: the smallest value that so large a share does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export interface Limits {
  readonly what: string
  readonly values: readonly number[]
  readonly unit: string
  /** Share to the most that it may be, for instance `{ 0.95: 500 }`. */
  readonly most: Readonly<Record<number, number>>
}

/** A row of quantiles that may not exceed something. An empty list is a miss: nothing was measured. */
export function atMost({ what, values, unit, most }: Limits): Row {
  const shares = Object.entries(most).map(([share, limit]) => ({ share: Number(share), limit }))
  const name = (share: number) => `p${share * 100}`
  const shown = [...new Set([0.5, ...shares.map(({ share }) => share)])].sort()
  return {
    what,
    wanted: shares.map(({ share, limit }) => `${name(share)} <= ${told(limit)} ${unit}`).join(', '),
    measured: `${shown.map((share) => `${name(share)} ${told(quantile(values, share))}`).join(', ')} ${unit} (${values.length})`,
    ok: values.length > 0 && shares.every(({ share, limit }) => quantile(values, share) <= limit),
  }
}

/** A figure for people: three digits, thousands apart. */
export function told(value: number): string {
  if (!Number.isFinite(value)) return 'never'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(value < 1 ? 2 : 3)))
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
