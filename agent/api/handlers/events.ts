/**
 * /events in Docker's shape and /grapevine/events in ours, with cause and observer: what this node saw happen, one JSON a line.
 *
 * Both begin with what the ring still holds since `since`, then follow until `until`. A client that reads too slowly is cut off rather than
 * queued for; it can ask again with `since`.
 */
import type { NodeEvent } from '../../world.ts'
import type { ApiContext } from '../context.ts'
import type { Engine } from '../engine/engine.ts'
import { together } from '../engine/events.ts'
import type { ApiRequest, Reply } from '../exchange.ts'
import { type Filters, passes, readFilters } from '../filters.ts'
import { readTime } from './logs.ts'

/** Docker's `/events`. */
export function dockerEvents(context: ApiContext, request: ApiRequest): Reply {
  const filters = readFilters(request.query.get('filters'), dockerKeys)
  const lines = map(follow(context, request.signal, readBounds(request)), (event) => {
    const message = dockerEvent(event)
    return fitsDocker(filters, message) ? `${JSON.stringify(message)}\n` : undefined
  })
  const { engine } = context
  const chunks = engine === undefined || request.relayed ? lines : withEngine(lines, engine, request)
  return { kind: 'stream', type: lineType(request.accept), chunks }
}

/** The engine of this machine tells of its containers, images and volumes in the same stream. */
function withEngine(lines: AsyncGenerator<string>, engine: Engine, request: ApiRequest): AsyncGenerator<string> {
  const end = new AbortController()
  const theirs = engine.lines(`/events?${request.query}`, AbortSignal.any([request.signal, end.signal]))
  return together(
    lines,
    map(theirs, (line) => `${line}\n`),
    () => end.abort(),
  )
}

/** `/grapevine/events`: JSON lines, or server-sent events for browsers. */
export function nodeEvents(context: ApiContext, request: ApiRequest): Reply {
  const filters = readFilters(request.query.get('filters'), ['type', 'action', 'event', 'id', 'name'])
  const sse = request.accept.includes('text/event-stream')
  const lines = map(follow(context, request.signal, readBounds(request)), (event) => {
    if (!fitsOurs(filters, event)) return undefined
    return sse ? `data: ${JSON.stringify(event)}\n\n` : `${JSON.stringify(event)}\n`
  })
  return { kind: 'stream', type: sse ? 'text/event-stream' : lineType(request.accept), chunks: lines }
}

/** Events that wait for a client before it is cut off: a busy second of a large cluster. */
const queueMax = 1000

interface Bounds {
  readonly sinceMs: number | undefined
  readonly untilMs: number | undefined
}

/** Read before the answer begins, so that a bad time is still a 400. */
function readBounds({ query }: ApiRequest): Bounds {
  // 0 is a time here, unlike in logs: all that is still known.
  const since = query.get('since')
  return { sinceMs: readTime(since) ?? (since ? 0 : undefined), untilMs: readTime(query.get('until')) }
}

async function* follow(
  context: ApiContext,
  signal: AbortSignal,
  { sinceMs, untilMs }: Bounds,
): AsyncGenerator<NodeEvent> {
  const queue: NodeEvent[] = sinceMs === undefined ? [] : [...context.events.since(sinceMs)]
  let wake: () => void = () => {}
  let overrun = false
  const end = context.events.subscribe((event) => {
    if (queue.length < queueMax) queue.push(event)
    else overrun = true
    wake()
  })
  const onAbort = (): void => wake()
  signal.addEventListener('abort', onAbort)
  try {
    while (!signal.aborted) {
      for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
        if (untilMs !== undefined && event.atMs > untilMs) return
        yield event
      }
      const leftMs = untilMs === undefined ? undefined : untilMs - context.clock.wall()
      if (overrun || (leftMs !== undefined && leftMs <= 0)) return
      await new Promise<void>((resolve) => {
        // A timer holds at most 2^31 ms; the loop looks again.
        const timer = leftMs === undefined ? undefined : setTimeout(resolve, Math.min(leftMs, 60_000))
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (queue.length > 0 || signal.aborted) wake()
      })
    }
  } finally {
    end()
    signal.removeEventListener('abort', onAbort)
  }
}

async function* map<A, B>(items: AsyncIterable<A>, change: (item: A) => B | undefined): AsyncGenerator<B> {
  for await (const item of items) {
    const changed = change(item)
    if (changed !== undefined) yield changed
  }
}

/** Docker before API 1.52 knows `application/json` only, although it is one object a line. */
function lineType(accept: string): string {
  return ['application/jsonl', 'application/x-ndjson'].find((type) => accept.includes(type)) ?? 'application/json'
}

const dockerKeys = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
]

/** Docker's words: a task is a container to it, and what concerns the whole cluster is told by the daemon. */
const dockerTypes = {
  node: 'node',
  service: 'service',
  network: 'network',
  task: 'container',
  cluster: 'daemon',
} as const

function dockerEvent(event: NodeEvent) {
  return {
    Type: dockerTypes[event.type],
    Action: event.action,
    Actor: { ID: event.id, Attributes: { ...event.attributes, name: event.name, sentence: event.sentence } },
    scope: event.type === 'cluster' ? 'local' : 'swarm',
    time: Math.floor(event.atMs / 1000),
    timeNano: Math.floor(event.atMs * 1e6),
  }
}

function fitsDocker(filters: Filters, message: ReturnType<typeof dockerEvent>): boolean {
  const actor = (key: string, type: string): boolean =>
    passes(
      filters,
      key,
      (wanted) =>
        message.Type === type && (message.Actor.ID.startsWith(wanted) || message.Actor.Attributes.name === wanted),
    )
  return (
    passes(filters, 'type', (wanted) => wanted === message.Type) &&
    passes(filters, 'event', (wanted) => wanted === message.Action) &&
    passes(filters, 'scope', (wanted) => wanted === message.scope) &&
    ['config', 'container', 'daemon', 'image', 'network', 'node', 'plugin', 'secret', 'service', 'volume'].every(
      (type) => actor(type, type),
    )
  )
}

function fitsOurs(filters: Filters, event: NodeEvent): boolean {
  return (
    passes(filters, 'type', (wanted) => wanted === event.type) &&
    passes(filters, 'action', (wanted) => wanted === event.action) &&
    passes(filters, 'event', (wanted) => wanted === event.action) &&
    passes(filters, 'id', (wanted) => event.id.startsWith(wanted)) &&
    passes(filters, 'name', (wanted) => event.name === wanted)
  )
}
