/** `vine doctor`: what the agent found of itself, and what this machine shows without one. */

import { Fault } from '../../fault.ts'
import { type Call, on } from '../definition.ts'
import type { Finding } from '../grapevine.ts'
import { prettyJson } from '../listing.ts'
import { paint } from '../paint.ts'
import { exit } from '../usage.ts'
import { examineMachine } from './machine.ts'

export async function doctor(call: Call): Promise<number> {
  const isClean = on(call.options, 'clean')
  if (isClean) await askAgent(() => call.api.post('/grapevine/clean', {}))
  const told = await askAgent(() => call.api.get<readonly Finding[]>('/grapevine/doctor'))
  const checked = new Set(told?.map(({ check }) => check))
  const seen = await examineMachine({
    env: call.io.env,
    socket: call.api.socket,
    agentRuns: told !== undefined,
    clean: isClean,
  })
  const findings = [...(told ?? []), ...seen.filter(({ check }) => !checked.has(check))]
  if (on(call.options, 'json')) call.io.out.write(prettyJson(findings))
  else for (const finding of findings) call.io.out.write(line(call, finding))
  return findings.every(({ ok }) => ok) ? exit.ok : exit.error
}

/** Undefined: no agent answers, which is no fault here. */
async function askAgent<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof Fault && error.code === 'unavailable') return undefined
    throw error
  }
}

/** `disk: ok`, or the sentence and below it the fix. */
function line({ io }: Call, { check, ok, sentence, fix }: Finding): string {
  if (ok) return `${check}: ok${sentence === '' ? '' : ` (${sentence})`}\n`
  return `${check}: ${paint(io.out, io.env, 'red', sentence)}\n${fix === undefined ? '' : `  ${fix}\n`}`
}
