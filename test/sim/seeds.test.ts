// A sample of the simulated clusters that `npm run soak` runs in full.
import { expect, test } from 'vitest'
import { sampleSeeds } from './fixed.ts'
import { runSeed } from './seed.ts'
import { tell } from './tell.ts'

test.each(sampleSeeds)(
  'a cluster keeps its promises through the faults of seed $seed',
  async (sample) => {
    const result = await runSeed(sample)
    expect(result.kind, tell(result, 0)).toBe('kept')
  },
  120_000,
)

test('a seed is the same run each time', async () => {
  const once = await runSeed({ seed: 9, minutes: 0.5 })
  expect(await runSeed({ seed: 9, minutes: 0.5 })).toEqual(once)
}, 60_000)
