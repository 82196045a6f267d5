/** `vine status`: exit code 0 well, 1 not, 2 no agent. One line when all is well. */

import { Fault } from '../../fault.ts'
import { type Call, on } from '../definition.ts'
import type { Status } from '../grapevine.ts'
import { prettyJson } from '../listing.ts'
import { paint } from '../paint.ts'
import { tellFault } from '../tell.ts'
import { exit } from '../usage.ts'

/** Is it well, as the agent sees it. */
export type Verdict = Pick<Status, 'well' | 'summary' | 'problems'>

export async function status(call: Call): Promise<number> {
  const { io } = call
  try {
    const answer = await call.api.get<Status>('/grapevine/status')
    if (on(call.options, 'json')) io.out.write(prettyJson(answer))
    else {
      const problems = answer.well
        ? [answer.summary]
        : answer.problems.map((text) => paint(io.out, io.env, 'red', text))
      const notes = answer.notes.map((text) => paint(io.out, io.env, 'yellow', text))
      io.out.write([...problems, ...notes].map((line) => `${line}\n`).join(''))
    }
    return answer.well ? exit.ok : exit.error
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'unavailable') throw error
    tellFault(error, io)
    return exit.special
  }
}

/** For top. */
export function readVerdict({ api }: Pick<Call, 'api'>): Promise<Verdict> {
  return api.get<Status>('/grapevine/status')
}
