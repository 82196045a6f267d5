/** `vine token`: a new token, and the command to paste on the machine that joins. */
import { type Call, on, text } from '../definition.ts'
import { parseDuration } from '../duration.ts'
import type { IssuedToken } from '../grapevine.ts'
import { prettyJson } from '../listing.ts'
import { humanDuration } from '../wording.ts'

export async function token(call: Call): Promise<number> {
  const given = text(call.options, 'ttl')
  const ttl = given === undefined ? undefined : Math.round(parseDuration('--ttl', given) / 1e6)
  const issued = await call.api.post<IssuedToken>('/grapevine/token', {
    ...(ttl === undefined ? {} : { ttlMs: ttl }),
    ...(on(call.options, 'rotate') ? { rotate: true } : {}),
  })
  if (on(call.options, 'json')) call.io.out.write(prettyJson(issued))
  else if (on(call.options, 'quiet')) call.io.out.write(`${issued.token}\n`)
  else {
    const ends = Date.parse(issued.expires ?? '')
    const limit = Number.isNaN(ends)
      ? 'until it is revoked'
      : `for ${humanDuration(Math.ceil((ends - call.io.now()) / 1000) * 1000).toLowerCase()}`
    call.io.out.write(
      `To add a machine to this cluster, run there (the token admits ${limit}):\n\n    ${issued.join}\n\n`,
    )
  }
  return 0
}
