// What a reader may do with its memory, without sockets: each read is played as Node does it.
import { expect, test } from 'vitest'
import { Reader, type Taken } from '../../../agent/dataplane/userspace/reader.ts'

/** Reads as many bytes as there is room for, at most `most`, all of one value. */
function reading(take: (bytes: Buffer) => Taken) {
  const reader = new Reader()
  reader.into({ take })
  const { buffer, callback } = reader.onread as { buffer: () => Uint8Array; callback: typeof reader.onread.callback }
  return {
    reader,
    room: () => buffer().length,
    read(most: number, value: number): boolean {
      const into = buffer()
      const length = Math.min(most, into.length)
      into.fill(value, 0, length)
      return callback(length, into)
    },
  }
}

test('what somebody holds is never written over, whatever the size of the read', () => {
  const kept: Buffer[] = []
  const { read } = reading((bytes) => {
    kept.push(bytes)
    return 'held'
  })
  const sizes = [10, 4_096, 65_536, 65_536, 20_000, 100, 4_096, 65_536, 3]
  sizes.forEach((size, i) => void read(size, i + 1))
  kept.forEach((bytes, i) => {
    expect(new Set(bytes)).toEqual(new Set([i + 1]))
  })
})

test('what stopped the reading is free again when the reading goes on: a slow taker costs no memory', () => {
  const { read, reader } = reading(() => 'stop')
  read(4_096, 1)
  const memory = () => (reader.onread.buffer as () => Uint8Array)().buffer
  const first = memory()
  for (let i = 0; i < 10; i++) expect(read(65_536, 1)).toBe(false)
  expect(memory()).toBe(first)
})

test('memory that was lent when its connection ended goes to no other connection', () => {
  const lent: Buffer[] = []
  const slow = reading((bytes) => {
    lent.push(bytes)
    return 'stop'
  })
  slow.read(4_000, 1)
  slow.reader.close()
  const others = Array.from({ length: 300 }, () => reading(() => 'free'))
  for (const { read } of others) read(4_000, 2)
  expect(new Set(lent[0])).toEqual(new Set([1]))
})

test('memory that was taken is used again, larger while reads fill it, and small when calm returns', () => {
  const { read, room } = reading(() => 'free')
  const rooms = [100, 4_096, 65_536, 65_536, 1_000, 1_000].map((size) => {
    read(size, 1)
    return room()
  })
  expect(rooms).toEqual([4_096, 65_536, 65_536, 65_536, 4_096, 4_096])
})

test('only a taker that wants no more stops the reading, and memory of an ended connection goes to the next', () => {
  const answers: Taken[] = ['free', 'held', 'stop']
  const { read, reader } = reading(() => answers.shift() ?? 'free')
  expect([read(1, 1), read(1, 1), read(1, 1)]).toEqual([true, true, false])
  read(4_096, 1)
  const large = (reader.onread.buffer as () => Uint8Array)()
  reader.close()
  const other = reading(() => 'free')
  other.read(4_096, 1)
  expect((other.reader.onread.buffer as () => Uint8Array)().buffer).toBe(large.buffer)
})
