// Docker's framed log stream, taken apart and printed.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Frame, parseLine, readFrames } from '../../../agent/cli/service/log-frames.ts'
import { lists, nodeId, web } from './cluster.ts'
import { fakeAgent } from './fake-agent.ts'
import { vine } from './vine.ts'

function frame(stream: 1 | 2, text: string): Buffer {
  const body = Buffer.from(text)
  const head = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0])
  head.writeUInt32BE(body.length, 4)
  return Buffer.concat([head, body])
}

const details = `com.docker.swarm.node.id=${nodeId('n2')},com.docker.swarm.service.id=${web.ID},com.docker.swarm.task.id=${lists['GET /tasks'][1]?.ID}`
const bytes = Buffer.concat([
  frame(1, `2026-11-23T12:00:00.5Z ${details} hello world\n`),
  frame(2, `2026-11-23T12:00:01Z ${details} oops\n`),
])

async function read(chunks: readonly Buffer[]): Promise<readonly Frame[]> {
  const frames: Frame[] = []
  for await (const item of readFrames(
    (async function* () {
      yield* chunks
    })(),
  ))
    frames.push(item)
  return frames
}

test('frames come out whole however the bytes were cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 6 }), async (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length]
      const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end))
      expect((await read(chunks)).map(({ stream }) => stream)).toEqual(['stdout', 'stderr'])
    }),
  )
})

test('a line that runs over two frames is one line, and a last one without an end is not lost', async () => {
  expect(await read([frame(1, 'one '), frame(1, 'line\nlast')])).toEqual([
    { stream: 'stdout', text: 'one line' },
    { stream: 'stdout', text: 'last' },
  ])
})

test('a line without details keeps its text, blanks and all', () => {
  expect(parseLine('  plain  text', false).text).toBe('  plain  text')
  expect(parseLine(`${details},extra=1 a  b`, false)).toMatchObject({ text: 'a  b', details: { extra: '1' } })
})

test('lines stand under the name of their task, and stderr goes to stderr', async () => {
  const agent = await fakeAgent({
    ...lists,
    'GET /services/web/logs': ({ query }) => ({
      status: 200,
      bytes:
        query.timestamps === 'true'
          ? bytes
          : Buffer.concat([frame(1, `${details} hello world\n`), frame(2, `${details} oops\n`)]),
    }),
  })
  const ask = (...words: readonly string[]) => vine(['service', 'logs', ...words, 'web'], { socket: agent.socket })
  try {
    expect(await ask()).toEqual({
      code: 0,
      out: 'web.2.tasktwo00000@n2    | hello world\n',
      err: 'web.2.tasktwo00000@n2    | oops\n',
    })
    expect((await ask('--no-task-ids')).out).toBe('web.2@n2    | hello world\n')
    expect((await ask('--raw', '-t')).out).toBe('2026-11-23T12:00:00.5Z hello world\n')
    expect(JSON.parse((await ask('--json')).out.split('\n')[1] ?? '')).toMatchObject({
      stream: 'stderr',
      at: '2026-11-23T12:00:01Z',
      text: 'oops',
    })
    await ask('-f', '--tail', '5', '--since', '1m')
    expect(agent.asked.findLast(({ path }) => path.endsWith('/logs'))?.query).toMatchObject({
      follow: 'true',
      tail: '5',
      since: '1795435140.000',
      details: 'true',
    })
  } finally {
    await agent.close()
  }
})
