/** `vine service logs`: reads Docker's framed stream (swagger: ContainerAttach, "Stream format") and prints each line under its task's name. */
import { Fault } from '../../fault.ts'
import type { Call } from '../definition.ts'
import { on, text } from '../definition.ts'
import type { Task } from '../docker.ts'
import { parseDuration } from '../duration.ts'
import { type Names, readNames } from '../tasks.ts'
import { usage } from '../usage.ts'
import { shortId } from '../wording.ts'
import { type LogLine, parseLine, readFrames } from './log-frames.ts'

export async function logs(call: Call): Promise<number> {
  const [name = ''] = call.args
  const stop = new AbortController()
  const forget = call.io.onInterrupt(() => stop.abort())
  const query = {
    stdout: true,
    stderr: true,
    details: true,
    timestamps: on(call.options, 'timestamps') || on(call.options, 'json'),
    follow: on(call.options, 'follow'),
    tail: tailOf(call),
    since: sinceOf(call),
  }
  try {
    const stream = await openLogs(call, name, query, stop.signal)
    const label = await labels(call)
    for await (const frame of readFrames(stream)) {
      const line = parseLine(frame.text, query.timestamps)
      const screen = frame.stream === 'stderr' && !on(call.options, 'json') ? call.io.err : call.io.out
      screen.write(`${shown(call, line, frame.stream, label)}\n`)
    }
    return 0
  } catch (error) {
    if (stop.signal.aborted) return 0
    throw error
  } finally {
    forget()
  }
}

async function openLogs(call: Call, name: string, query: Parameters<Call['api']['stream']>[1], signal: AbortSignal) {
  try {
    return await call.api.stream(`/services/${encodeURIComponent(name)}/logs`, query, signal)
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'not-found') throw error
  }
  try {
    return await call.api.stream(`/tasks/${encodeURIComponent(name)}/logs`, query, signal)
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'not-found') throw error
    throw new Fault('not-found', `no such task or service: ${name}`, { fix: 'List services with: vine service ls' })
  }
}

/** How a line's task is called: `web.1.k3l2m4n5o6p7@n1`. Tasks that came later are looked up by their id alone. */
async function labels(call: Call): Promise<(line: LogLine) => string> {
  const names: Names | undefined = call.options.resolve === false ? undefined : await readNames(call)
  const tasks = await call.api.get<readonly Task[]>('/tasks')
  const slots = new Map(tasks.map((task) => [task.ID, task.Slot ? String(task.Slot) : (task.NodeID ?? '')]))
  const id = (whole: string) => (call.options.trunc === false ? whole : shortId(whole))
  return ({ service, task, node }) => {
    const serviceName = names?.services.get(service) ?? service
    const taskIds = call.options.taskIds !== false
    const slot = slots.get(task)
    const own = slot === undefined ? id(task) : taskIds ? `${slot}.${id(task)}` : slot
    return `${serviceName}.${own}@${names?.nodes.get(node) ?? id(node)}`
  }
}

function shown(call: Call, line: LogLine, stream: string, label: (line: LogLine) => string): string {
  if (on(call.options, 'json'))
    return JSON.stringify({
      ...line.details,
      stream,
      at: line.at,
      node: line.node,
      service: line.service,
      task: line.task,
      text: line.text,
    })
  const time = line.at === undefined ? '' : `${line.at} `
  if (on(call.options, 'raw')) return `${time}${line.text}`
  const details = on(call.options, 'details')
    ? `${Object.entries(line.details)
        .map(([k, v]) => `${k}=${v}`)
        .join(',')} `
    : ''
  return `${time}${label(line)}    | ${details}${line.text}`
}

function tailOf(call: Call): string {
  const given = text(call.options, 'tail') ?? 'all'
  if (given !== 'all' && !/^\d+$/.test(given))
    throw usage(`invalid value "${given}" for --tail`, 'Give a number of lines, or all')
  return given
}

/** Seconds since 1970, as the API wants them. */
function sinceOf(call: Call): string | undefined {
  const given = text(call.options, 'since')
  if (given === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(given)) return given
  const at = Date.parse(given)
  const ms = Number.isNaN(at) ? call.io.now() - parseDuration('--since', given) / 1e6 : at
  return (ms / 1000).toFixed(3)
}
