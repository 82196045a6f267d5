/** What machines-docker-cycles.long.test.ts does, twenty times as long, and how long a container takes to start: for npm run soak. */
import { expect, test } from 'vitest'
import { percentile, startAndRemove, startTimes } from './docker-cycles.ts'

const tell = (line: string) => void process.stdout.write(`${line}\n`)

test('500 containers that were started and removed have left nothing in the engine, the kernel, on the disk or among the processes', async () => {
  await startAndRemove(500, tell)
})

test('the time to start a container is told', async () => {
  const { running, docker } = await startTimes(30)
  expect(docker.length).toBe(30)
  const figures = (values: readonly number[]) => `median ${percentile(values, 50)} ms, p95 ${percentile(values, 95)} ms`
  tell(
    `service create to running: ${figures(running)}; of it Docker, sandbox made to container started: ${figures(docker)}`,
  )
})
