/** `vine status`: exit code 0 well, 1 not, 2 no agent. One line when all is well. */
import { Fault } from '../../fault.ts'
import { type Call, on } from '../definition.ts'
import { prettyJson } from '../listing.ts'
import { paint } from '../paint.ts'
import { tellFault } from '../tell.ts'
import { exit } from '../usage.ts'
import { type Status, type Verdict, verdict } from './verdict.ts'

export async function status(call: Call): Promise<number> {
  const { io } = call
  try {
    const answer = await call.api.get<Status>('/grapevine/status')
    const { well, summary, problems } = verdict(answer)
    if (on(call.options, 'json')) io.out.write(prettyJson(answer))
    else if (well) io.out.write(`${summary}\n`)
    else for (const problem of problems) io.out.write(`${paint(io.out, io.env, 'red', problem)}\n`)
    return well ? exit.ok : exit.error
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'unavailable') throw error
    tellFault(error, io)
    return exit.special
  }
}

/** For top. */
export async function readVerdict({ api }: Pick<Call, 'api'>): Promise<Verdict> {
  return verdict(await api.get<Status>('/grapevine/status'))
}
