/**
 * `vine resolve NAME TYPE --from TASK`: the same way that the task's own query takes, with the reply read for people.
 */
import * as dnsPacket from 'dns-packet'
import type { TaskId } from '../../protocol/ids.ts'
import { fault } from '../fault.ts'
import type { Responder } from './responder.ts'

export interface Resolved {
  /** NOERROR, NXDOMAIN, SERVFAIL, … */
  readonly status: string
  readonly answers: readonly {
    readonly name: string
    readonly type: string
    readonly ttlS: number
    readonly data: string
  }[]
}

const nameMax = 253

/** Asks as the task. Rejects with 'invalid' for what cannot be a question. */
export async function ask(responder: Responder, task: TaskId, name: string, type: string): Promise<Resolved> {
  const bare = name.replace(/\.$/, '')
  if (bare.length > nameMax || bare.split('.').some((label) => label.length === 0 || label.length > 63)) {
    throw fault('invalid', `"${name}" is not a DNS name`, 'Labels have 1 to 63 characters, names at most 253')
  }
  if (!/^[A-Z0-9]{1,10}$/i.test(type))
    throw fault('invalid', `"${type}" is not a DNS record type`, 'For instance A, AAAA, SRV, PTR')
  const query = dnsPacket.encode({
    type: 'query',
    id: 1,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ name: bare, type: type.toUpperCase() as dnsPacket.RecordType }],
  })
  const reply = await responder.respond(task, query, 'tcp')
  if (reply === undefined) throw fault('invalid', `${type} ${name} is not a question that DNS can carry`)
  const packet = dnsPacket.decode(reply) as dnsPacket.DecodedPacket & { rcode: string }
  return {
    status: packet.rcode,
    answers: (packet.answers ?? []).map((a) => ({
      name: a.name,
      type: a.type,
      ttlS: 'ttl' in a ? (a.ttl ?? 0) : 0,
      data: 'data' in a ? textOf(a.data) : '',
    })),
  }
}

function textOf(data: unknown): string {
  if (typeof data === 'string') return data
  if (Buffer.isBuffer(data)) return data.toString('utf8')
  if (Array.isArray(data)) return data.map(textOf).join(' ')
  if (data !== null && typeof data === 'object') return Object.values(data).map(String).join(' ')
  return String(data)
}
