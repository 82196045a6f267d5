// Logs of all nodes as one stream, and events.
import http from 'node:http'
import { duplexPair } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { RelayRequest } from '../../../agent/api/context.ts'
import { decodeFrames, encodeFrame, type Frame } from '../../../agent/api/logs/frame.ts'
import { interleave } from '../../../agent/api/logs/merge.ts'
import { requestOver } from '../../../agent/api/relay.ts'
import { createHttpServer } from '../../../agent/api/server.ts'
import { fault } from '../../../agent/fault.ts'
import type { LogLine, NodeEvent } from '../../../agent/world.ts'
import { until } from '../../until.ts'
import { type Running, spec, startApi } from './client.ts'
import { createFake, type Fake, nodeIds, startMs } from './fake.ts'

let api: Running
let service: string
const taskIds = ['a', 'b', 'c'].map((letter) => letter.repeat(25))

beforeEach(async () => {
  api = await startApi()
  await api.post('/services/create', spec('web', { Mode: { Replicated: { Replicas: 3 } } }))
  service = [...api.fake.view.services.keys()][0] ?? ''
  nodeIds.forEach((node, i) => {
    api.fake.putTask(taskIds[i] ?? '', { service, slot: String(i + 1), node })
  })
})
afterEach(() => api.stop())

const line = (task: number, atMs: number, text: string, stream: LogLine['stream'] = 'stdout'): LogLine => {
  return { task: taskIds[task] ?? '', stream, atMs: startMs + atMs, text }
}

/** Other nodes as servers of their own, which see the same state and have their own logs. */
function connectNodes(logs: Readonly<Record<string, readonly LogLine[]>>): RelayRequest[] {
  const asked: RelayRequest[] = []
  api.fake.set.relay = async (node, request) => {
    asked.push(request)
    const lines = logs[node]
    if (lines === undefined) throw fault('unavailable', 'connection refused')
    const there: Fake = createFake()
    const context = { ...there.context, view: { ...api.fake.view, self: node } }
    there.set.lines = [...lines]
    const [ours, theirs] = duplexPair()
    createHttpServer(context).emit('connection', theirs)
    return requestOver(ours, request)
  }
  return asked
}

async function frames(url: string): Promise<readonly Frame[]> {
  const { bytes } = await api.get(url)
  const found: Frame[] = []
  for await (const frame of decodeFrames(chunksOf(bytes, 7))) found.push(frame)
  return found
}

async function* chunksOf(bytes: Buffer, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

describe('logs', () => {
  test('of the tasks of all nodes are merged by time', async () => {
    api.fake.set.lines = [line(0, 1, 'one'), line(0, 4, 'four')]
    connectNodes({
      [nodeIds[1]]: [line(1, 2, 'two', 'stderr')],
      [nodeIds[2]]: [line(2, 3, 'three'), line(2, 5, 'five')],
    })
    const found = await frames('/services/web/logs?stdout=1&stderr=1')
    expect(found.map(({ stream, text }) => `${stream} ${text}`)).toEqual([
      'stdout one\n',
      'stderr two\n',
      'stdout three\n',
      'stdout four\n',
      'stdout five\n',
    ])
  })

  test('ask each other node once, and one that was asked asks nobody', async () => {
    const asked = connectNodes({ [nodeIds[1]]: [], [nodeIds[2]]: [] })
    await frames('/services/web/logs?stdout=1&tail=5')
    expect(asked.map(({ path }) => path)).toEqual(
      Array(2).fill('/services/web/logs?stdout=1&tail=5&timestamps=1&details=1'),
    )
    expect(asked[0]?.headers).toEqual({ 'x-grapevine-relayed': nodeIds[0] })
  })

  test("asked by another node are this node's alone", async () => {
    const asked = connectNodes({ [nodeIds[1]]: [], [nodeIds[2]]: [] })
    const url = '/services/web/logs?stdout=1'
    expect((await api.request('GET', url, undefined, { 'x-grapevine-relayed': nodeIds[1] })).status).toBe(200)
    expect(asked).toEqual([])
  })

  test('that another node could not read are named too', async () => {
    const gone: Fake['context']['logs'] = () => {
      throw new Error('log file is gone')
    }
    api.fake.set.relay = async (node, request) => {
      const there = createFake()
      const [ours, theirs] = duplexPair()
      const view = { ...api.fake.view, self: node }
      createHttpServer({ ...there.context, view, logs: gone }).emit('connection', theirs)
      return requestOver(ours, request)
    }
    const found = await frames('/services/web/logs?stdout=1')
    expect(found.map(({ text }) => text)).toEqual([
      expect.stringContaining(
        `node n2: task ${taskIds[1]}: log file is gone, node n3: task ${taskIds[2]}: log file is gone`,
      ),
    ])
  })

  test('of a rejected task are not missed: it never ran', async () => {
    for (const [i, id] of taskIds.entries())
      api.fake.putTask(id, { service, slot: String(i + 1), node: nodeIds[0], state: 'rejected' })
    api.fake.set.logs = () => {
      throw new Error('Task is not on this node')
    }
    expect(await frames('/services/web/logs?stdout=1')).toEqual([])
  })

  test("carry times and details as Docker's client reads them", async () => {
    api.fake.set.lines = [line(0, 7, 'hello world')]
    connectNodes({ [nodeIds[1]]: [], [nodeIds[2]]: [] })
    const [frame] = await frames('/services/web/logs?stdout=1&timestamps=1&details=1')
    expect(frame?.text).toBe(
      `2026-11-01T00:00:00.007000000Z com.docker.swarm.node.id=${nodeIds[0]},com.docker.swarm.service.id=${service},com.docker.swarm.task.id=${taskIds[0]} hello world\n`,
    )
  })

  test('of a node that is not available are missing, which is said at the end', async () => {
    api.fake.set.lines = [line(0, 1, 'one')]
    connectNodes({ [nodeIds[1]]: [line(1, 2, 'two')] })
    const found = await frames('/services/web/logs?stdout=1')
    expect(found.map(({ stream }) => stream)).toEqual(['stdout', 'stdout', 'system'])
    expect(found[2]?.text).toContain('incomplete log stream')
    expect(found[2]?.text).toContain('node n3 is not available: connection refused')
  })

  test('of one task are asked of its node', async () => {
    connectNodes({ [nodeIds[1]]: [line(1, 2, 'two')] })
    expect(await frames('/tasks/web.2/logs?stdout=1')).toEqual([{ stream: 'stdout', text: 'two\n' }])
  })

  test('that are followed go on with lines and tasks that come later, and end with the client', async () => {
    connectNodes({ [nodeIds[1]]: [line(1, 1, 'elsewhere')] })
    const ended: string[] = []
    api.fake.set.logs = async function* (task, { signal }) {
      yield { task, stream: 'stdout', atMs: 1, text: `from ${task[0]}` }
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      ended.push(task)
    }
    let text = ''
    const request = http.get(
      { socketPath: api.socket, path: '/services/web/logs?stdout=1&stderr=1&follow=1', agent: false },
      (response) =>
        response.on('data', (chunk) => {
          text += chunk
        }),
    )
    request.on('error', () => {})
    await until(() => text.includes('from a') && text.includes('elsewhere'), {
      deadlineMs: 5_000,
      what: 'the first lines',
    })
    expect(text).toContain('grapevine: its log lines are missing: node n3 is not available')
    api.fake.putTask('d'.repeat(25), { service, slot: '1', node: nodeIds[0] })
    await until(() => text.includes('from d'), { deadlineMs: 5_000, what: 'the log of the new task' })
    request.destroy()
    await until(() => ended.length === 2, { deadlineMs: 5_000, what: 'the logs to be closed' })
  })

  test('that are followed resume after the last line when a node is back', async () => {
    const source = { key: 'n2', resumes: true, opened: [] as (number | undefined)[] }
    const open = async function* (_signal: AbortSignal, afterMs: number | undefined): AsyncGenerator<LogLine> {
      source.opened.push(afterMs)
      if (source.opened.length === 1) {
        yield line(1, 5, 'before')
        return
      }
      if (source.opened.length === 2) throw new Error('still away')
      yield line(1, 9, 'after')
      await new Promise(() => {})
    }
    vi.useFakeTimers()
    const stop = new AbortController()
    const told: string[] = []
    const lines = interleave(
      () => [{ ...source, open }],
      stop.signal,
      ({ cause }) => {
        told.push(String(cause))
        return undefined
      },
    )
    const first = await lines.next()
    const second = lines.next()
    await vi.advanceTimersByTimeAsync(30_000)
    expect([first.value?.text, (await second).value?.text]).toEqual(['before', 'after'])
    expect(source.opened).toEqual([undefined, startMs + 5, startMs + 5])
    expect(told).toEqual(['Error: still away'])
    stop.abort()
    await lines.return(undefined)
    vi.useRealTimers()
  })

  test.each([
    ['/services/web/logs', 400, /at least one stream/],
    ['/services/web/logs?stdout=1&tail=many', 400, /invalid tail/],
    ['/services/web/logs?stdout=1&since=noon', 400, /invalid time/],
    ['/services/nope/logs?stdout=1', 404, /service nope not found/],
    ['/tasks/nope/logs?stdout=1', 404, /task nope not found/],
  ])('GET %s answers %i', async (url, status, message) => {
    const answer = await api.get(url)
    expect([answer.status, answer.body.message]).toEqual([status, expect.stringMatching(message)])
  })

  test('a broken stream of another node is an error of that node', async () => {
    const bytes = Buffer.concat([encodeFrame({ stream: 'stdout', text: 'good' }), Buffer.from('garbage!garbage!')])
    const read = async () => {
      const found: Frame[] = []
      for await (const frame of decodeFrames(chunksOf(bytes, 5))) found.push(frame)
    }
    await expect(read()).rejects.toThrow('broken')
  })
})

describe('events', () => {
  const event = (action: string, atMs: number, type: NodeEvent['type'] = 'node'): NodeEvent => {
    return {
      atMs: startMs + atMs,
      type,
      action,
      id: `${type}-id`,
      name: 'n3',
      sentence: `n3 ${action}: refused, confirmed by n2`,
      attributes: { by: 'n2' },
    }
  }
  const at = (ms: number) => (startMs + ms) / 1000
  const read = async (url: string) =>
    (await api.get(url)).bytes
      .toString()
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => JSON.parse(text))

  test('are told with cause and observer, from since to until', async () => {
    for (const [i, action] of ['suspect', 'dead', 'alive'].entries()) api.fake.emit(event(action, i * 1000))
    const found = await read(`/grapevine/events?since=${at(500)}&until=${at(1500)}`)
    expect(found).toEqual([event('dead', 1000)])
    // As `docker events --since 0` asks: all that is still known.
    expect(await read(`/grapevine/events?since=0&until=${at(1500)}`)).toHaveLength(2)
  })

  test("are mapped into Docker's words, and filtered by them", async () => {
    api.fake.emit(event('start', 0, 'task'))
    api.fake.emit(event('create', 0, 'service'))
    const bounds = `since=${at(0)}&until=${at(0)}`
    const all = await read(`/events?${bounds}`)
    expect(all.map((e) => [e.Type, e.Action, e.scope])).toEqual([
      ['container', 'start', 'swarm'],
      ['service', 'create', 'swarm'],
    ])
    expect(all[0].Actor.Attributes).toEqual({ by: 'n2', name: 'n3', sentence: 'n3 start: refused, confirmed by n2' })
    const filters = encodeURIComponent(JSON.stringify({ type: ['service'], event: ['create'] }))
    expect(await read(`/events?${bounds}&filters=${filters}`)).toHaveLength(1)
  })

  test('are followed as they happen, and the subscription ends with the client', async () => {
    let text = ''
    const request = http.get(
      { socketPath: api.socket, path: '/grapevine/events', headers: { accept: 'text/event-stream' }, agent: false },
      (response) =>
        response.on('data', (chunk) => {
          text += chunk
        }),
    )
    request.on('error', () => {})
    await until(() => api.fake.set.listeners === 1, { deadlineMs: 5_000, what: 'the subscription' })
    api.fake.emit(event('dead', 0))
    await until(() => text.startsWith('data: {') && text.endsWith('\n\n'), { deadlineMs: 5_000, what: 'the event' })
    request.destroy()
    await until(() => api.fake.set.listeners === 0, { deadlineMs: 5_000, what: 'the end of the subscription' })
  })
})
