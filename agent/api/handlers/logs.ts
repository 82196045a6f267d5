/**
 * /services/{id}/logs and /tasks/{id}/logs: the logs of all nodes' tasks as one stream in Docker's frames (design.md 10).
 *
 * Each node reads the logs of its own tasks. The node that was asked asks the others by the same path, one request a node, and merges. A
 * node that cannot be asked is named at the end (Docker's own sentence), or, while following, in a line of its own.
 */
import type { NodeId } from '../../../protocol/ids.ts'
import type { ServiceValue, TaskValue } from '../../../protocol/model.ts'
import { nodeName } from '../../core/live.ts'
import { compareText } from '../../core/placement/order.ts'
import { tasksOf } from '../../core/placement/slots.ts'
import type { Stamped } from '../../core/view.ts'
import { fault, reasonOf } from '../../fault.ts'
import type { LogLine, LogQuery } from '../../world.ts'
import type { ApiContext } from '../context.ts'
import { type ApiRequest, flag, type Reply } from '../exchange.ts'
import { findService, findTask } from '../find.ts'
import { decodeFrames, encodeFrame, type Frame, multiplexedType } from '../logs/frame.ts'
import { formatLine, parseLine } from '../logs/line.ts'
import { interleave, mergeByTime, type Source, type Trouble } from '../logs/merge.ts'
import { relayed } from '../relay.ts'

export function serviceLogs(context: ApiContext, request: ApiRequest): Reply {
  const service = findService(context.view, request.params.id ?? '')
  const asked = readQuery(request)
  return {
    kind: 'stream',
    type: multiplexedType,
    chunks: stream(context, request, asked, () => tasksWithLogs(context, service)),
  }
}

export function taskLogs(context: ApiContext, request: ApiRequest): Reply {
  const task = findTask(context.view, request.params.id ?? '')
  const asked = readQuery(request)
  return { kind: 'stream', type: multiplexedType, chunks: stream(context, request, asked, () => [task]) }
}

interface Asked {
  readonly follow: boolean
  readonly tail: number | undefined
  readonly sinceMs: number | undefined
  readonly timestamps: boolean
  readonly details: boolean
  readonly stdout: boolean
  readonly stderr: boolean
}

function readQuery({ query }: ApiRequest): Asked {
  const asked = { stdout: flag(query, 'stdout'), stderr: flag(query, 'stderr') }
  if (!asked.stdout && !asked.stderr) throw fault('invalid', 'Bad parameters: you must choose at least one stream')
  const tail = query.get('tail') ?? 'all'
  if (!/^(all|-?\d{1,9}|)$/.test(tail))
    throw fault('invalid', `invalid tail "${tail.slice(0, 40)}": a number of lines, or all`)
  return {
    ...asked,
    follow: flag(query, 'follow'),
    // Negative means all, as in Docker.
    tail: tail === 'all' || tail === '' || Number(tail) < 0 ? undefined : Number(tail),
    sinceMs: readTime(query.get('since')),
    timestamps: flag(query, 'timestamps'),
    details: flag(query, 'details'),
  }
}

/** A time of Docker's API, UNIX seconds with a fraction, as ms. Absent, empty and 0: no bound. */
export function readTime(text: string | null): number | undefined {
  if (text === null || text === '' || /^0(\.0*)?$/.test(text)) return undefined
  const ms = /^\d{1,12}(\.\d{1,9})?$/.test(text) ? Number(text) * 1000 : Date.parse(text)
  if (Number.isNaN(ms)) throw fault('invalid', `invalid time "${text.slice(0, 40)}": UNIX seconds, or RFC 3339`)
  return ms
}

/** Swarm's own sentence (swarmkit manager/logbroker). */
const incomplete = 'warning: incomplete log stream. some logs could not be retrieved for the following reasons: '

async function* stream(
  context: ApiContext,
  request: ApiRequest,
  asked: Asked,
  tasks: () => readonly Stamped<TaskValue>[],
): AsyncGenerator<Uint8Array> {
  const sources = () => sourcesOf(context, request, asked, tasks())
  const troubles: string[] = []
  const lines = asked.follow
    ? interleave(sources, request.signal, (trouble) => troubleLine(context, tasks(), trouble))
    : mergeByTime(sources(), request.signal, (trouble) => troubles.push(sentenceOf(context, trouble)))
  for await (const line of lines) {
    if (!asked[line.stream]) continue
    const task = context.view.tasks.get(line.task)?.value
    const origin = { node: task?.node ?? context.view.self, service: task?.service ?? '' }
    yield encodeFrame({ stream: line.stream, text: formatLine(line, origin, asked) })
  }
  if (troubles.length > 0) {
    yield encodeFrame({ stream: 'system', text: `${incomplete}${troubles.join(', ')}` })
  }
}

/** One source a task of this node, one a node elsewhere. */
function sourcesOf(
  context: ApiContext,
  request: ApiRequest,
  asked: Asked,
  tasks: readonly Stamped<TaskValue>[],
): readonly Source[] {
  const { self } = context.view
  const { follow, tail, sinceMs } = asked
  const local = tasks
    .filter((task) => task.value.node === self)
    .map((task) => ({
      key: task.id,
      resumes: false,
      open: (signal: AbortSignal) => context.logs(task.id, { follow, tail, sinceMs, signal } satisfies LogQuery),
    }))
  if (request.relayed) return local
  const nodes = [...new Set(tasks.map((task) => task.value.node))].filter((node) => node !== self).sort()
  const remotes = nodes.map((node) => ({
    key: node,
    resumes: true,
    open: (signal: AbortSignal, afterMs: number | undefined) =>
      remote(context, node, withSince(request, afterMs), signal),
  }))
  return [...local, ...remotes]
}

/** The path and query for the other node, with the times and details that merging needs. */
function withSince({ path, query }: ApiRequest, afterMs: number | undefined): string {
  const asked = new URLSearchParams(query)
  asked.set('timestamps', '1')
  asked.set('details', '1')
  if (afterMs !== undefined) {
    asked.set('since', ((afterMs + 1) / 1000).toFixed(3))
    asked.delete('tail')
  }
  return `${path}?${asked}`
}

/** The other node's part of the same log. */
async function* remote(context: ApiContext, node: NodeId, path: string, signal: AbortSignal): AsyncGenerator<LogLine> {
  const response = await relayed(context, node, { method: 'GET', path, signal })
  if (response.status !== 200) {
    response.body.destroy()
    throw fault('unavailable', `node ${nodeName(context.view, node)} refused its logs (${response.status})`)
  }
  for await (const { stream: from, text } of framesOf(context, node, response.body)) {
    if (from === 'system')
      throw fault('unavailable', `node ${nodeName(context.view, node)}: ${text.replace(incomplete, '')}`)
    const line = parseLine(text)
    if (line !== undefined) yield { ...line, stream: from }
  }
}

/** A stream that breaks off names its node. */
async function* framesOf(context: ApiContext, node: NodeId, body: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  try {
    yield* decodeFrames(body)
  } catch (cause) {
    throw fault('unavailable', `node ${nodeName(context.view, node)}: ${reasonOf(cause)}`, undefined, cause)
  }
}

function tasksWithLogs(context: ApiContext, service: Stamped<ServiceValue>): readonly Stamped<TaskValue>[] {
  // A rejected task never ran: nothing of its log is missing.
  return tasksOf(context.view, service.id)
    .filter(({ value }) => value.state !== 'rejected')
    .sort((a, b) => compareText(a.id, b.id))
}

function sentenceOf(context: ApiContext, { key, cause }: Trouble): string {
  return context.view.tasks.has(key) ? `task ${key}: ${reasonOf(cause)}` : reasonOf(cause)
}

/** While following, the client goes on: the trouble is a line on stderr of a task that it concerns. */
function troubleLine(context: ApiContext, tasks: readonly Stamped<TaskValue>[], trouble: Trouble): LogLine | undefined {
  const task = tasks.find((found) => found.id === trouble.key || found.value.node === trouble.key)
  if (task === undefined) return undefined
  const text = `grapevine: its log lines are missing: ${sentenceOf(context, trouble)}`
  return { task: task.id, stream: 'stderr', atMs: context.clock.wall(), text }
}
