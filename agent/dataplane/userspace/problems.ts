/**
 * What of a forwarding table cannot be made in user space, as sentences for `service ps` and screens.
 */
import type { Routes } from '../../core/routes/types.ts'
import { bindReason } from '../../fault.ts'
import type { ApplyProblem } from '../../world.ts'
import { holderText } from '../holders.ts'
import type { Address } from './listeners.ts'

/** A listener that could not be opened; `code` is that of bind(2). */
export function notOpened({ protocol, port, host, facts }: Address, code: string): ApplyProblem {
  const why =
    code === 'EADDRINUSE'
      ? `is bound by ${holderText(protocol, host, port)} on ${host}`
      : code === 'EACCES'
        ? `on ${host} needs privileges that the agent does not have`
        : `on ${host} cannot be opened: ${bindReason(code)}`
  return { protocol, port, service: facts.service, sentence: `port ${port}/${protocol} ${why}` }
}

/** Node has no sockets for SCTP. */
export function unsupported({ published }: Routes): readonly ApplyProblem[] {
  return published.flatMap(({ protocol, port, service }) => {
    const sentence = `port ${port}/sctp needs the linux data plane, which this node does not run`
    return protocol === 'sctp' ? [{ protocol, port, service, sentence }] : []
  })
}
