/** `vine resolve NAME [TYPE] --from TASK`: what the resolver of that task answers. */
import { isIP } from 'node:net'
import { type Call, on, text } from '../definition.ts'
import type { Resolved } from '../grapevine.ts'
import { prettyJson } from '../listing.ts'
import { layTable } from '../table.ts'
import { exit, usage } from '../usage.ts'

export async function resolve(call: Call): Promise<number> {
  const [asked = '', type = isIP(asked) === 0 ? 'A' : 'PTR'] = call.args
  const name = type.toUpperCase() === 'PTR' ? reverseName(asked) : asked
  const from = text(call.options, 'from')
  if (from === undefined)
    throw usage('--from is missing: names depend on who asks', 'Name a task: vine resolve web --from web.1')
  const answer = await call.api.get<Resolved>('/grapevine/resolve', { name, type: type.toUpperCase(), task: from })
  if (on(call.options, 'json')) call.io.out.write(prettyJson(answer))
  else if (answer.answers.length > 0)
    call.io.out.write(layTable(answer.answers.map((a) => [a.name, String(a.ttlSeconds), a.type, a.data])))
  else call.io.err.write(`${sentence(answer.code, name, type.toUpperCase(), from)}\n`)
  if (answer.answers.length > 0) return exit.ok
  return answer.code === 'NXDOMAIN' || answer.code === 'NOERROR' ? exit.special : exit.error
}

/** An address as the name that PTR records are kept under (RFC 1035, 3.5; RFC 3596, 2.5); anything else is left as it is. */
function reverseName(name: string): string {
  if (isIP(name) === 4) return `${name.split('.').reverse().join('.')}.in-addr.arpa`
  if (isIP(name) !== 6) return name
  const [head = [], tail = []] = name.split('::').map((half) => half.split(':').filter(Boolean))
  const zeros = Array<string>(8 - head.length - tail.length).fill('0')
  const digits = [...head, ...zeros, ...tail].map((group) => group.padStart(4, '0')).join('')
  return `${[...digits].reverse().join('.')}.ip6.arpa`
}

function sentence(code: string, name: string, type: string, from: string): string {
  if (code === 'NXDOMAIN') return `There is no name ${name} for ${from}.`
  if (code === 'NOERROR') return `${name} has no ${type} record for ${from}.`
  return `The resolver of ${from} answered ${code} for ${name}.`
}
