// A transport in a process of its own, to be killed by healing.test.ts.
import { createPrivateKey } from 'node:crypto'
import type { KnownMember } from '../../../agent/transport/admission.ts'
import { identityOf } from '../../../agent/trust/identity.ts'
import { memberOf, registry, station } from './stations.ts'

interface Begin {
  readonly pem: string
  readonly cluster: string
  readonly certificate: string
  readonly other: KnownMember
}

process.on('message', async (begin: Begin) => {
  const state = registry()
  state.members.set(begin.other.node, begin.other)
  const identity = identityOf(createPrivateKey(begin.pem))
  const certificate = Buffer.from(begin.certificate, 'base64')
  process.send?.(memberOf(await station({ identity, cluster: begin.cluster, certificate, state })))
})
process.on('disconnect', () => process.exit(0))
