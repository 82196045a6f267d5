// How the long scenarios of the simulator run: by `npm run soak`, before bad input (vitest.fuzz.config.ts) and its seeds.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: { include: ['test/sim/**/*.soak.ts'], fileParallelism: false, testTimeout: 600_000 },
})
