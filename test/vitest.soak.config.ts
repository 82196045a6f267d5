// How the long scenarios run, of the simulator and of real machines: by `npm run soak`, before bad input (vitest.fuzz.config.ts) and the seeds.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    include: ['test/sim/**/*.soak.ts', 'test/e2e/**/*.soak.ts', 'test/e2e/**/*.long.test.ts'],
    fileParallelism: false,
    testTimeout: 1_800_000,
  },
})
