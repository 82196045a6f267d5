// How the light layers run: tidy, unit, contract and sim. Nothing here may hide a failure: no retry, no bail, no tolerated leak.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { patience } from './until.ts'

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    include: ['test/{tidy,unit,contract,sim}/**/*.test.ts'],
    // Vitest leaves one core free: on two that is one file at a time, 212 s for unit, contract and sim instead of 125.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 20_000 * patience,
    hookTimeout: 20_000 * patience,
  },
})
