/** What linux-cycles.long.test.ts does, ten times as long: for npm run soak. */
import { test } from 'vitest'
import { killAndStart, startAndStop } from './cycles.ts'

test('1,000 tasks that were started and stopped have left nothing in the kernel, on the disk or among the processes', async () => {
  await startAndStop(1_000)
})

test('an agent that is killed at 200 random moments leaves nothing that its restart does not adopt or clean', async () => {
  await killAndStart(200, Number(process.env.VINE_SEED ?? Date.now() % 1e9))
})
