// The log of one task, driven by hand: a test writes what the program would, and looks as often as it likes.
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LOG_BYTES, openTaskLog, type TaskLog } from '../../../agent/runtime/process/collect.ts'
import { readLog } from '../../../agent/runtime/process/read.ts'
import type { LogLine, LogQuery } from '../../../agent/world.ts'
import { until } from '../../until.ts'

let dir: string
let out: string
let dropped = 0
let now = 1_000_000

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'vine-log-'))
  out = join(dir, 'stdout')
  for (const file of ['stdout', 'stderr', 'cursor']) writeFileSync(join(dir, file), '')
  dropped = 0
  now = 1_000_000
})
afterEach(() => rmSync(dir, { recursive: true }))

function open(): TaskLog {
  return openTaskLog(
    dir,
    () => now,
    (bytes) => {
      dropped += bytes
    },
  )
}

async function read(log: TaskLog, query: Partial<LogQuery> = {}): Promise<readonly LogLine[]> {
  const lines: LogLine[] = []
  const signal = new AbortController().signal
  for await (const line of readLog('task', log, {
    follow: false,
    tail: undefined,
    sinceMs: undefined,
    signal,
    ...query,
  }))
    lines.push(line)
  return lines
}

const texts = (lines: readonly LogLine[]) => lines.map((line) => line.text)

test('a line bears the time at which it was seen, and a line that has no end yet waits for it', async () => {
  const log = open()
  appendFileSync(out, 'one\ntw')
  log.collect()
  now += 500
  appendFileSync(out, 'o\n')
  log.collect()
  expect((await read(log)).map((line) => [line.atMs, line.text])).toEqual([
    [1_000_000, 'one'],
    [1_000_500, 'two'],
  ])
  expect(texts(await read(log, { sinceMs: 1_000_001 }))).toEqual(['two'])
})

test('lines that came while no agent ran bear the time of the last of them, once, wherever that agent stopped', async () => {
  const log = open()
  appendFileSync(out, 'before\n')
  log.collect()
  appendFileSync(out, 'while away\n')
  utimesSync(out, 500, 500)
  const again = open()
  again.collect()
  expect((await read(again)).map((line) => [line.atMs, line.text])).toEqual([
    [1_000_000, 'before'],
    [500_000, 'while away'],
  ])
})

test('a follower misses no line and sees none twice over rotations, and the files keep their bounds', async () => {
  const log = open()
  const following = read(log, { follow: true })
  const total = 300_000
  for (let i = 0; i < total; i += 5_000) {
    appendFileSync(out, Array.from({ length: 5_000 }, (_, k) => `${i + k} ${'x'.repeat(60)}\n`).join(''))
    const end = statSync(out).size
    await until(
      () => {
        log.collect()
        return statSync(out).size < end || readFileSync(join(dir, 'cursor'), 'utf8').startsWith(`${end} `)
      },
      { deadlineMs: 5_000, everyMs: 0, what: 'the lines to be moved' },
    )
    expect(statSync(out).size).toBeLessThan(2 * 1024 * 1024)
  }
  log.finish()
  const numbers = (await following).map((line) => Number.parseInt(line.text, 10))
  expect(numbers.length).toBe(total)
  expect(numbers.every((value, i) => value === i)).toBe(true)
  for (const file of ['log', 'log.1']) expect(statSync(join(dir, file)).size).toBeLessThanOrEqual(LOG_BYTES)
  await until(() => !existsSync(out), { deadlineMs: 2_000, what: 'the spool to go' })
  expect(texts(await read(log, { tail: 2 })).map((text) => Number.parseInt(text, 10))).toEqual([total - 2, total - 1])
  expect(dropped).toBe(0)
})

test('a line that is half written when its file is cut comes out whole', async () => {
  const log = open()
  const long = 'x'.repeat(40_000)
  appendFileSync(out, `${long}\n`.repeat(40))
  appendFileSync(out, 'half')
  for (let look = 0; look < 8; look += 1) log.collect()
  expect(statSync(out).size).toBe(0)
  appendFileSync(out, ' and half\nnext')
  log.finish()
  expect(texts(await read(log)).slice(-3)).toEqual([long, 'half and half', 'next'])
})

test('a program that is too far ahead loses the oldest of it, counted, and its file is cut', async () => {
  const log = open()
  appendFileSync(out, 'old\n'.repeat(2_000_000))
  appendFileSync(out, 'newest\n')
  log.collect()
  expect(dropped).toBeGreaterThan(7_000_000)
  expect((await read(log)).at(-1)?.text).toBe('newest')
  await until(() => statSync(out).size === 0, { deadlineMs: 2_000, what: 'the cut' })
  appendFileSync(out, 'after\n')
  const arrived = async () => {
    log.collect()
    return texts(await read(log)).at(-1) === 'after'
  }
  await until(arrived, {
    deadlineMs: 2_000,
    what: 'a line after it',
  })
})

test('a program that cuts its own file and writes as many bytes again is read again', async () => {
  const log = open()
  for (const text of ['tick\n', 'tock\n']) {
    writeFileSync(out, text)
    utimesSync(out, text.length, text === 'tick\n' ? 500 : 501)
    log.collect()
    log.collect()
  }
  expect(texts(await read(log))).toEqual(['tick', 'tock'])
})

test('a log that a full disk cut in the middle of a line goes on with the next', async () => {
  writeFileSync(join(dir, 'log'), '1000 o whole\n1000 o cu')
  const log = open()
  appendFileSync(out, 'next\n')
  log.collect()
  expect(texts(await read(log))).toEqual(['whole', 'cu', 'next'])
})

test('of an error that Node reports, the line is the one that names the error, not the version below it', () => {
  const log = open()
  appendFileSync(
    join(dir, 'stderr'),
    "node:events:486\n      throw er; // Unhandled 'error' event\n      ^\n\nError: listen EADDRINUSE :::80\n    at listen (node:net:1)\n",
  )
  log.collect()
  appendFileSync(
    join(dir, 'stderr'),
    "Emitted 'error' event on Server instance at:\n    at net {\n  code: 'EADDRINUSE'\n}\n\nNode.js v20.20.2\n",
  )
  log.finish()
  expect(log.lastLine()).toBe('Error: listen EADDRINUSE :::80')
  expect(open().lastLine()).toBe('Error: listen EADDRINUSE :::80')
})

test('the last line is the last of stderr that says something, without colours and control characters', () => {
  const log = open()
  appendFileSync(join(dir, 'stderr'), `first\n\x1b[31mbad\x1b[0m\ting\u0007\n  \n\n`)
  appendFileSync(out, 'later\n')
  log.finish()
  expect(log.lastLine()).toBe('bad ing')
  expect(open().lastLine()).toBe('bad ing')
})
