/** The linux data plane in constant change: tasks that come and go, an agent that is killed amid it. `npm run soak` does ten times as much. */
import { test } from 'vitest'
import { patience } from '../until.ts'
import { killAndStart, startAndStop } from './cycles.ts'

/** Each kill is followed by a start and by tasks that settle: 2.5 s on a calm machine, 4 s on a busy one. */
const killingMs = 20 * 6_000 * patience

test('100 tasks that were started and stopped have left nothing in the kernel, on the disk or among the processes', async () => {
  await startAndStop(100)
})

test('an agent that is killed at 20 random moments leaves nothing that its restart does not adopt or clean', {
  timeout: killingMs,
}, async () => {
  await killAndStart(20, Number(process.env.VINE_SEED ?? Date.now() % 1e9))
})
