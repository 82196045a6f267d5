/** Containers in constant change on the linux data plane. `npm run soak` does twenty times as much. */
import { test } from 'vitest'
import { startAndRemove } from './docker-cycles.ts'

test('25 containers that were started and removed have left nothing in the engine, the kernel, on the disk or among the processes', async () => {
  await startAndRemove(25, () => {})
}, 240_000)
