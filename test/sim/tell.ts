// One line for a seed that was kept, ten for one that was not.
import type { SeedResult } from './seed.ts'

export function tell(result: SeedResult, tookMs: number): string {
  if (result.kind === 'broken') return result.story
  const { seed, nodes, faults, requests, settledMs } = result
  const took = `${(tookMs / 1000).toFixed(1)} s`
  return `seed ${seed}: ${nodes} nodes, ${faults} faults, ${requests} requests; settled in ${(settledMs / 1000).toFixed(1)} s of virtual time; took ${took}`
}
