// What `npm run soak` runs before its seeds: the long scenarios of the simulator, and fifty times the bad input of `npm test` on every socket.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

/** Inputs a socket. */
const VINE_FUZZ_RUNS = process.env.VINE_FUZZ_RUNS ?? '100000'

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    fileParallelism: false,
    projects: [
      { extends: true, test: { name: 'scenarios', include: ['test/sim/**/*.soak.ts'], testTimeout: 600_000 } },
      {
        extends: true,
        test: {
          name: 'bad input',
          include: ['test/e2e/hostile.test.ts', 'test/unit/api/fuzz.test.ts'],
          env: { VINE_FUZZ_RUNS },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
