/** `vine events`: what this node saw happen, a line each, with cause and observer. */

import { type Call, on, text } from '../definition.ts'
import { parseDuration } from '../duration.ts'
import { filterQuery } from '../filter.ts'
import type { NodeEvent } from '../grapevine.ts'
import { parseTemplate, renderTemplate } from '../template.ts'

export async function events(call: Call): Promise<number> {
  const stop = new AbortController()
  const forget = call.io.onInterrupt(() => stop.abort())
  const show = shower(call)
  try {
    const bounds = { since: timeOf(call, 'since'), until: timeOf(call, 'until') }
    const stream = await call.api.stream(
      '/grapevine/events',
      { ...bounds, filters: filterQuery(call.options) },
      stop.signal,
    )
    for await (const event of readLines(stream)) call.io.out.write(`${show(event)}\n`)
    return 0
  } catch (error) {
    if (stop.signal.aborted) return 0
    throw error
  } finally {
    forget()
  }
}

/** What happened between two times, wall ms. */
export async function readEvents(
  { api }: Pick<Call, 'api'>,
  { sinceMs, untilMs }: { sinceMs: number; untilMs: number },
): Promise<readonly NodeEvent[]> {
  const stream = await api.stream('/grapevine/events', { since: seconds(sinceMs), until: seconds(untilMs) })
  const found: NodeEvent[] = []
  for await (const event of readLines(stream)) found.push(event)
  return found
}

function shower(call: Call): (event: NodeEvent) => string {
  const format = text(call.options, 'format')
  if (on(call.options, 'json') || format === 'json')
    return ({ atMs, ...event }) => JSON.stringify({ at: new Date(atMs).toISOString(), ...event })
  if (format === undefined) return (event) => `${localTime(event.atMs)}  ${event.type.padEnd(7)}  ${event.sentence}`
  const template = parseTemplate(format)
  return (event) => renderTemplate(template, event)
}

/** `2026-11-23 01:02:03.456` here. */
function localTime(ms: number): string {
  const at = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000)
  return at.toISOString().replace('T', ' ').slice(0, 23)
}

/** Seconds since 1970: `42m` ago, `now`, or a time. */
function timeOf(call: Call, name: 'since' | 'until'): string | undefined {
  const given = text(call.options, name)
  if (given === undefined) return undefined
  const now = call.io.now()
  if (given === 'now') return seconds(now)
  if (/^\d+(\.\d+)?$/.test(given)) return given
  const at = Date.parse(given)
  return seconds(Number.isNaN(at) ? now - parseDuration(`--${name}`, given) / 1e6 : at)
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3)
}

async function* readLines(stream: AsyncIterable<Buffer>): AsyncGenerator<NodeEvent> {
  const decoder = new TextDecoder()
  let held = ''
  for await (const chunk of stream) {
    const lines = (held + decoder.decode(chunk, { stream: true })).split('\n')
    held = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line)
  }
}
