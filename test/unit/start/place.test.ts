// Two agents never work in one data directory, and two directories never stand in each other's way.
import { expect, test } from 'vitest'
import { lockDirectory } from '../../../agent/start/place.ts'

test('a second agent is refused in the same directory, however its path is written, until the first has gone', async () => {
  const dir = `/tmp/lock-${process.pid}`
  const unlock = await lockDirectory(dir)
  await expect(lockDirectory(`${dir}/../lock-${process.pid}`)).rejects.toMatchObject({ code: 'conflict' })
  unlock()
  const again = await lockDirectory(dir)
  again()
})

test('directories whose long paths begin alike are two directories', async () => {
  const long = `/tmp/${'d'.repeat(120)}-${process.pid}`
  const unlocks = [await lockDirectory(`${long}/n1`), await lockDirectory(`${long}/n2`)]
  for (const unlock of unlocks) unlock()
})
