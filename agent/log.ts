/**
 * The agent's one logger: pino, as JSON lines for machines and as short lines for a person at a terminal.
 *
 * Secrets never go in: callers pass names, ids and counts. The redaction below is the net under that rule.
 */
import { pino } from 'pino'
import type { LogLevel } from './config.ts'
import type { Log } from './world.ts'

export interface LogTarget {
  readonly isTTY?: boolean | undefined
  write(text: string): unknown
}

/** Writes to `target` (stderr): people get `12:03:04 warn  sentence`, machines one JSON object a line. */
export function createLog(level: LogLevel, target: LogTarget): Log {
  const destination = target.isTTY ? { write: (line: string) => target.write(forPeople(line)) } : target
  const logger = pino(
    {
      level,
      base: null,
      redact: ['token', 'secret', 'env', '*.token', '*.secret', '*.env'],
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => void destination.write(line) },
  )
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
  }
}

function forPeople(line: string): string {
  const { time, level, msg } = JSON.parse(line) as { time: string; level: string; msg: string }
  return `${time.slice(11, 19)} ${level.padEnd(5)} ${msg}\n`
}
