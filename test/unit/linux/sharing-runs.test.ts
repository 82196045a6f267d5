// Who asks during a run gets one that began after the asking, and shares it.
import { expect, test } from 'vitest'
import { sharingRuns } from '../../../agent/dataplane/linux/sharing-runs.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Runs that end when the test says so. */
function runs() {
  const open: { end(): void; fail(why: string): void }[] = []
  const ask = sharingRuns(
    () => new Promise((resolve, reject) => void open.push({ end: resolve, fail: (why) => reject(new Error(why)) })),
  )
  return { open, ask }
}

test('all who ask during a run share the next, which begins when it has ended', async () => {
  const { open, ask } = runs()
  const first = ask()
  const others = [ask(), ask()]
  expect(open).toHaveLength(1)
  open[0]?.end()
  await first
  await turn()
  expect(open).toHaveLength(2)
  open[1]?.end()
  await Promise.all(others)
  expect(open).toHaveLength(2)
})

test('a run that fails is told to those who asked for it, and the next begins all the same', async () => {
  const { open, ask } = runs()
  const first = ask()
  const second = ask()
  open[0]?.fail('no')
  await expect(first).rejects.toThrow('no')
  await turn()
  open[1]?.end()
  await second
  expect(open).toHaveLength(2)
})
