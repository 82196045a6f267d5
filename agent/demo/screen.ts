/**
 * The demo's one screen: a pure function of what is known to lines that fit the terminal. Two colours: red needs you, yellow is at work.
 */
import { tint } from '../cli/paint.ts'
import type { Asked } from './requests.ts'
import type { Marks, Timeline } from './timeline.ts'

export interface Shown {
  readonly machines: readonly ShownMachine[]
  readonly service: { readonly running: number; readonly wanted: number; readonly url: string }
  readonly requests: number
  readonly failed: number
  readonly rate: number
  readonly failures: readonly (Asked & { readonly cause: string })[]
  readonly timeline: Timeline | undefined
  /** Ms after its return at which it runs tasks again. */
  readonly rebalancedMs: number | undefined
  readonly cut: boolean
  readonly note: string
  readonly paste: readonly string[]
}

export interface ShownMachine {
  readonly name: string
  readonly address: string
  readonly state: string
  readonly tasks: number
  /** What each other node calls it, where they differ from ready. */
  readonly calledBy: string
}

export interface Size {
  readonly columns: number
  readonly rows: number
  readonly colour: boolean
}

const keyLine = 'k kill   f freeze   p cut the network in two   b bring back   t top   q quit'

export function render(shown: Shown, size: Size): readonly string[] {
  const { service } = shown
  const head = `grapevine demo: ${shown.machines.length} machines, no manager`
  const body = [
    head,
    '',
    'MACHINE   ADDRESS      IS        TASKS   OTHERS SAY',
    ...shown.machines.map((m) => machineLine(m, size)),
    '',
    `web ${service.running} of ${service.wanted} running   ${service.url}   ${requestsLine(shown, size)}`,
    ...(shown.note === '' ? [''] : ['', paint(size, 'yellow', shown.note)]),
    ...timelineLines(shown, size),
    ...failureLines(shown, size),
  ]
  // On a small screen what failed matters more than what could be typed.
  const isSmall = size.rows < 24 || (size.rows < 32 && shown.failures.length > 0)
  const foot = [...(isSmall ? [] : ['In another terminal:', ...shown.paste.map((line) => `  ${line}`)]), keyLine]
  const room = Math.max(0, size.rows - foot.length - 1)
  const top = body.slice(0, room)
  const blank = Array.from({ length: Math.max(0, room - top.length) }, () => '')
  return [...top, ...blank, '', ...foot].slice(0, size.rows).map((line) => cut(line, size.columns))
}

function machineLine(m: ShownMachine, size: Size): string {
  const line = `${m.name.padEnd(10)}${m.address.padEnd(13)}${m.state.padEnd(10)}${String(m.tasks).padEnd(8)}${m.calledBy}`
  return m.state === 'up' ? line : paint(size, 'red', line)
}

function requestsLine(shown: Shown, size: Size): string {
  const failed = `${shown.failed} failed`
  return `${shown.requests} requests (${shown.rate}/s), ${shown.failed === 0 ? failed : paint(size, 'red', failed)}`
}

/** The timeline as a table; also what the plain demo prints. */
export function timelineLines(shown: Pick<Shown, 'timeline' | 'rebalancedMs'>, size: Size): readonly string[] {
  const { timeline } = shown
  if (timeline === undefined) return []
  const names = [...timeline.survivors.keys()]
  const row = (title: string, mark: keyof Marks) =>
    title.padEnd(34) + names.map((name) => cell(timeline.survivors.get(name)?.[mark], size)).join('')
  const { kind, node } = timeline.fault
  return [
    '',
    `${node} ${kind}${kind === 'killed' ? ' with its tasks (SIGKILL)' : kind === 'frozen' ? ' (SIGSTOP)' : ''}`,
    '  ms after it, as seen by'.padEnd(34) + names.map((name) => name.padStart(8)).join(''),
    row('  new connections avoid it', 'avoidedMs'),
    row('  its tasks are out of DNS', 'droppedMs'),
    row('  every task runs elsewhere', 'replacedMs'),
    ...(timeline.returnedMs === undefined ? [] : [row('  ready again, ms after its return', 'rejoinedMs')]),
    ...(shown.rebalancedMs === undefined
      ? []
      : [`  it runs tasks again ${(shown.rebalancedMs / 1000).toFixed(1)} s after its return`]),
  ]
}

function cell(ms: number | undefined, size: Size): string {
  return ms === undefined ? paint(size, 'yellow', '…'.padStart(8)) : String(ms).padStart(8)
}

function failureLines(shown: Shown, size: Size): readonly string[] {
  if (shown.failures.length === 0) return []
  const last = shown.failures.slice(-3)
  return ['', 'failed requests', ...last.map((f) => paint(size, 'red', `  ${failureLine(f)}`))]
}

export function failureLine(failure: Asked & { readonly cause: string }): string {
  return `through ${failure.via} after ${Math.round(failure.endedMs - failure.startedMs)} ms: ${failure.error}; ${failure.cause}`
}

function paint(size: Size, colour: 'red' | 'yellow', text: string): string {
  return size.colour ? tint(colour, text) : text
}

/** A colour switch, kept whole when a line is cut. */
const colourCode = new RegExp(`(${String.fromCharCode(27)}\\[\\d+m)`)

/** Cuts a line to so many columns, colours not counted. */
function cut(line: string, columns: number): string {
  let shown = 0
  let result = ''
  for (const part of line.split(colourCode)) {
    if (part.startsWith('\u001b[')) result += part
    else {
      result += part.slice(0, Math.max(0, columns - shown))
      shown += part.length
    }
  }
  return result
}
