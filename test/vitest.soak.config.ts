// How the long scenarios run, of the simulator and of real machines: by `npm run soak`, before bad input (vitest.fuzz.config.ts) and the seeds.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    include: ['test/sim/**/*.soak.ts', 'test/e2e/**/*.soak.ts', 'test/e2e/**/*.long.test.ts'],
    fileParallelism: false,
    testTimeout: 1_800_000,
    // 300 nodes in one heap take 4 GB while they find each other, which is all that Node gives by itself; a large nursery as for the seeds (soak.ts).
    execArgv: ['--max-old-space-size=8192', '--max-semi-space-size=64', '--min-semi-space-size=64'],
  },
})
