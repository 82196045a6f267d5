// How the light layers run: tidy, unit, contract and sim. Nothing here may hide a failure: no retry, no bail, no tolerated leak.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { patience } from './until.ts'

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    include: ['test/{tidy,unit,contract,sim}/**/*.test.ts'],
    testTimeout: 20_000 * patience,
    hookTimeout: 20_000 * patience,
  },
})
