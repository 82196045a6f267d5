// What the engine streams: JSON a line, frames of output, progress of a pull; cut anywhere, as sockets cut.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shareOf, withTag } from '../../../agent/runtime/docker/images.ts'
import { type Frame, frames, jsonLines } from '../../../agent/runtime/docker/lines.ts'
import { linesOf } from '../../../agent/runtime/docker/logs.ts'

async function all<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function framed(stream: Frame['stream'], text: string): Buffer {
  const header = Buffer.alloc(8)
  header[0] = stream === 'stderr' ? 2 : 1
  header.writeUInt32BE(Buffer.byteLength(text), 4)
  return Buffer.concat([header, Buffer.from(text)])
}

test('frames are the same wherever the stream is cut', async () => {
  const arbitrary = fc.array(fc.record({ stream: fc.constantFrom('stdout', 'stderr'), text: fc.string() }))
  await fc.assert(
    fc.asyncProperty(arbitrary, fc.integer({ min: 1, max: 20 }), async (sent, size) => {
      const bytes = Buffer.concat(sent.map(({ stream, text }) => framed(stream, text)))
      const got = await all(frames(pieces(bytes, size), false))
      expect(got.map(({ stream, bytes }) => ({ stream, text: bytes.toString() }))).toEqual(sent)
    }),
  )
})

test('output that is not in frames is an error, not memory without end', async () => {
  await expect(all(frames(pieces(Buffer.from('no frames at all'), 16), false))).rejects.toThrow(/not in frames/)
})

test('JSON a line survives cuts within a character; what is no JSON is left out', async () => {
  const bytes = Buffer.from('{"a":"é"}\n\nnone\n{"b":2}')
  for (const size of [1, 2, 3, 100]) expect(await all(jsonLines(pieces(bytes, size)))).toEqual([{ a: 'é' }, { b: 2 }])
})

test('lines of a log have the times of their first piece, and streams do not mix', async () => {
  async function* messages(): AsyncGenerator<Frame> {
    yield { stream: 'stdout', bytes: Buffer.from('2026-01-01T00:00:01.5Z half ') }
    yield { stream: 'stderr', bytes: Buffer.from('2026-01-01T00:00:02Z other\n') }
    yield { stream: 'stdout', bytes: Buffer.from('2026-01-01T00:00:03Z a line\r\n') }
    yield { stream: 'stdout', bytes: Buffer.from('2026-01-01T00:00:04Z without an end') }
  }
  const base = Date.UTC(2026, 0, 1)
  expect(await all(linesOf(messages(), { task: 't' }))).toEqual([
    { task: 't', stream: 'stderr', atMs: base + 2_000, text: 'other' },
    { task: 't', stream: 'stdout', atMs: base + 1_500, text: 'half a line' },
    { task: 't', stream: 'stdout', atMs: base + 4_000, text: 'without an end' },
  ])
})

test('progress of a pull is the share of what is known to come, in steps', () => {
  const layers = new Map()
  const seen = (id: string, status: string, current?: number, total?: number) =>
    shareOf(layers, { id, status, progressDetail: { current, total } })
  expect(seen('a', 'Pulling fs layer')).toBeUndefined()
  expect(seen('a', 'Downloading', 45, 100)).toBe(40)
  expect(seen('b', 'Downloading', 0, 100)).toBe(20)
  expect(seen('a', 'Download complete')).toBe(50)
  expect(seen('b', 'Download complete')).toBe(100)
})

test('an image without a tag is its latest, never all of them', () => {
  expect(['box', 'box:1', 'host:5000/box', 'host:5000/box:1', 'box@sha256:ab'].map(withTag)).toEqual([
    'box:latest',
    'box:1',
    'host:5000/box:latest',
    'host:5000/box:1',
    'box@sha256:ab',
  ])
})
