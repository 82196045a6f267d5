// The real Disk on a real directory.
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { openDisk } from '../../../agent/disk.ts'

const made: string[] = []
afterEach(async () => {
  for (const directory of made.splice(0)) await rm(directory, { recursive: true, force: true })
})

async function freshDirectory(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'vine-disk-'))
  made.push(parent)
  return join(parent, 'data')
}

const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes).toString())

describe('the disk', () => {
  it('keeps files 0600 in a directory 0700', async () => {
    const directory = await freshDirectory()
    const disk = await openDisk(directory)
    await disk.write('a', Buffer.from('1'))
    await disk.append('b', Buffer.from('1'))
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    for (const name of ['a', 'b']) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600)
  })

  it('says at once that no directory can be made where nobody can make one', async () => {
    await expect(openDisk('/proc/vine/data')).rejects.toThrow(/create/)
  })

  it('reads what was written and appended, and nothing of a file that is not there', async () => {
    const disk = await openDisk(await freshDirectory())
    await disk.append('b', Buffer.from('1'))
    await disk.append('b', Buffer.from('2'))
    await disk.write('a', Buffer.from('old'))
    await disk.write('a', Buffer.from('new'))
    expect([text(await disk.read('a')), text(await disk.read('b')), await disk.read('c')]).toEqual([
      'new',
      '12',
      undefined,
    ])
    await disk.remove('a')
    await disk.remove('a')
    expect(await disk.read('a')).toBeUndefined()
  })

  it('sets broken files aside under names that do not meet', async () => {
    const disk = await openDisk(await freshDirectory())
    for (const n of ['1', '2']) {
      await disk.write('a', Buffer.from(n))
      expect(await disk.setAside('a')).toBe(`a.broken-${n}`)
    }
    expect([text(await disk.read('a.broken-1')), text(await disk.read('a.broken-2'))]).toEqual(['1', '2'])
  })

  it('says what it could not do, and where', async () => {
    const directory = await freshDirectory()
    const disk = await openDisk(directory)
    await disk.write('a', Buffer.from('1'))
    await rm(directory, { recursive: true })
    await expect(disk.write('a', Buffer.from('2'))).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(directory),
    })
    await expect(disk.append('a', Buffer.from('2'))).rejects.toMatchObject({ code: 'unavailable' })
    await expect(openDisk(import.meta.filename)).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('refuses names that leave its directory', async () => {
    const disk = await openDisk(await freshDirectory())
    await expect(disk.read('../x')).rejects.toThrow('no name of a file')
  })
})
