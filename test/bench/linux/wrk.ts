/** wrk and iperf3 as observers: interleaved rounds over several ways, and the ratios of one round. */
import type { Ran } from '../../e2e/cluster.ts'
import { median, type Row, told } from '../figure.ts'

export const rounds = 9

/** Keep-alive has the cost of a packet, a connection a request that of the first one: where the rules are. */
export const kinds = {
  'keep-alive': '-t1 -c64',
  'a connection a request': "-t1 -c64 -H 'Connection: close'",
} as const
export type Kind = keyof typeof kinds

export interface Asked {
  readonly perSecond: number
  readonly errors: readonly string[]
}

export async function wrk(run: (line: string) => Promise<Ran>, line: string): Promise<Asked> {
  const { out, err } = await run(line)
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1] ?? 0)
  const errors = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(out)?.[0]
  return { perSecond, errors: errors === undefined ? (perSecond > 0 ? [] : [err]) : [errors] }
}

/** Every way once a round, each round beginning with another one: what else the machine does meets all alike. */
export async function interleaved<Name extends string, T>(
  names: readonly Name[],
  measure: (name: Name, round: number) => Promise<T>,
): Promise<readonly Readonly<Record<Name, T>>[]> {
  const done: Record<Name, T>[] = []
  for (let round = 0; round < rounds; round++) {
    const one = {} as Record<Name, T>
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!
      one[name] = await measure(name, round)
    }
    done.push(one)
  }
  return done
}

export interface Comparison {
  readonly what: string
  readonly peer: string
  /** Of the peer's; 0: only told. */
  readonly least: number
  readonly unit: string
  readonly pairs: readonly { readonly ours: number; readonly theirs: number }[]
  readonly errors: readonly string[]
}

/** The median of the ratios of single rounds. An error is a miss. */
export function compared({ what, peer, least, unit, pairs, errors }: Comparison): Row {
  const ratios = pairs.map(({ ours, theirs }) => ours / theirs)
  const ratio = median(ratios)
  const of = (pick: (pair: (typeof pairs)[number]) => number) => told(median(pairs.map(pick)))
  return {
    what: `${what}, against ${peer}`,
    wanted: wantedOf(least),
    measured: `${ratio.toFixed(2)} x (${ratios.length}; ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}), ${of(({ ours }) => ours)} to ${of(({ theirs }) => theirs)} ${unit}${errors.length > 0 ? `; ${errors[0]}` : ''}`,
    ok: ratio >= least && errors.length === 0,
  }
}

function wantedOf(least: number): string {
  if (least === 0) return '(told)'
  return least === 1 ? 'ahead of it' : `>= ${least} x`
}
