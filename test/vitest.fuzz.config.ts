// How the fuzz campaigns run in `npm run soak`: 100,000 inputs for each socket, of a seed that nobody has run. A line for each, with its
// time. `npm test` runs the same with 2,000 inputs of one seed.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

const runs = process.env.VINE_FUZZ_RUNS ?? '100000'
const seed = process.env.VINE_FUZZ_SEED ?? String(Date.now() % 2 ** 31)
const replay = `VINE_FUZZ_SEED=${seed} VINE_FUZZ_RUNS=${runs} node_modules/.bin/vitest run --config test/vitest.fuzz.config.ts`
console.log(
  `Bad input on every socket, with seed ${seed}. To send it again, with -t and the words before the number for one socket:\n${replay}`,
)

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    include: ['test/{unit,contract,e2e}/**/{hostile,hostile-member,fuzz}.test.ts'],
    env: { VINE_FUZZ_RUNS: runs, VINE_FUZZ_SEED: seed },
    reporters: ['verbose'],
    // Two agents and who throws at them are three processes already.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
