/** Go's durations, which is how Docker's users write times: `5s`, `1m30s`, `500ms`. In the API they are nanoseconds. */
import { usage } from './usage.ts'

const units: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

/** Nanoseconds. Throws a UsageFault that names the flag. */
export function parseDuration(flag: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)]
  const whole = parts.map((part) => part[0]).join('')
  if (text === '0') return 0
  if (whole !== text || text === '')
    throw usage(`invalid time "${text}" for ${flag}`, 'Write a number with a unit, for instance 500ms, 10s or 1m30s')
  return Math.round(parts.reduce((sum, [, value, unit]) => sum + Number(value) * (units[unit ?? ''] ?? 0), 0))
}

/** `1m30s` of nanoseconds, as Go prints them. */
export function formatDuration(ns: number): string {
  if (ns === 0) return '0s'
  if (ns < 1e3) return `${ns}ns`
  if (ns < 1e6) return `${ns / 1e3}µs`
  if (ns < 1e9) return `${ns / 1e6}ms`
  const hours = Math.floor(ns / 3600e9)
  const minutes = Math.floor((ns % 3600e9) / 60e9)
  const seconds = (ns % 60e9) / 1e9
  return `${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`
}
