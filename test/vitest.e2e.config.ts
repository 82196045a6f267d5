// How the end-to-end layer runs: real processes, sockets and kernels on a machine with perhaps two cores, so one file at a time.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { patience } from './until.ts'

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    include: ['test/e2e/**/*.test.ts'],
    fileParallelism: false,
    // A scenario starts several agents (up to 1.5 s each), waits for a death to be seen (up to 4 s) and ends them again.
    testTimeout: 60_000 * patience,
    hookTimeout: 60_000 * patience,
  },
})
