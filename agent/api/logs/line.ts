/**
 * One log line as Docker writes it: `[time ][attributes ]text\n`, where the attributes name node, service and task, so that the client can
 * print `web.1@n2 | …`. Between agents both are always on, and are read back here.
 */
import type { LogLine } from '../../world.ts'

export interface Shape {
  readonly timestamps: boolean
  readonly details: boolean
}

export interface Origin {
  readonly node: string
  readonly service: string
}

const prefix = 'com.docker.swarm'

export function formatLine(line: LogLine, origin: Origin, shape: Shape): string {
  const time = shape.timestamps ? `${nanoTime(line.atMs)} ` : ''
  const details = shape.details
    ? `${prefix}.node.id=${origin.node},${prefix}.service.id=${origin.service},${prefix}.task.id=${line.task} `
    : ''
  return `${time}${details}${line.text}\n`
}

/** Reads a line written with both times and details; undefined when it is not one. */
export function parseLine(
  text: string,
): { readonly atMs: number; readonly task: string; readonly text: string } | undefined {
  const match = /^(\S+) \S*com\.docker\.swarm\.task\.id=([^,\s]+)\S* (.*?)\n?$/s.exec(text)
  const atMs = Date.parse(match?.[1] ?? '')
  return match === null || Number.isNaN(atMs) ? undefined : { atMs, task: match[2] ?? '', text: match[3] ?? '' }
}

/** RFC 3339 with nine digits, which Docker's client expects to be of one width. */
function nanoTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('Z', '000000Z')
}
