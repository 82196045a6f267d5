// How the end-to-end layer runs: real processes, sockets and kernels on a machine with perhaps two cores. In two lanes that share no network and
// so no port, address or abstract socket: agents on the loopback of this machine, and agents on machines of their own (test/e2e/machines.ts). A lane
// runs one file at a time; test/run.ts runs the lanes side by side. test/tidy/lanes.ts holds files to the lane that their name puts them in.
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { patience } from './until.ts'

const machines = 'test/e2e/{machines,linux}*.test.ts'
/** In CI and in `npm run soak`: with them `npm test` would not end within the ten minutes that it promises a person. */
const long = process.env.CI === 'true' ? [] : ['test/e2e/**/*.long.test.ts']

export default defineConfig({
  root: join(import.meta.dirname, '..'),
  test: {
    fileParallelism: false,
    // A scenario starts several agents (up to 1.5 s each), waits for a death to be seen (up to 4 s) and ends them again.
    testTimeout: 60_000 * patience,
    hookTimeout: 60_000 * patience,
    projects: [
      { extends: true, test: { name: 'loopback', include: ['test/e2e/**/*.test.ts'], exclude: [machines, ...long] } },
      { extends: true, test: { name: 'machines', include: [machines], exclude: long } },
    ],
  },
})
