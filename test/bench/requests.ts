/** The row on requests through surviving nodes: none may fail but those that the flow log shows open on what was lost, before it was. */
import type { Row } from './figure.ts'
import type { Verdict } from './web.ts'

export function requestsRow(requests: number, failures: readonly Verdict[]): Row {
  const broken = failures.filter(({ excused }) => !excused)
  const excused = failures.length - broken.length
  return {
    what: 'requests through surviving nodes',
    wanted: 'none fails but those open on the lost before the fault',
    measured: `${requests} requests; ${excused} open on the lost, ${broken.length} failed without excuse${broken.length > 0 ? `: ${broken[0]!.error}, ${broken[0]!.why}` : ''}`,
    ok: broken.length === 0 && requests > 0,
  }
}
