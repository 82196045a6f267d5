/**
 * A member of the cluster that says what the test likes: admitted by a certificate of its own, on the record as one that left, so that nobody
 * gives it tasks or waits for its answers. It is connected with one agent only; whatever reaches another came through that one.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSecureContext, type SecureContext } from 'node:tls'
import { selfSigned } from '../../agent/mesh/certificate.ts'
import { createIdentity, type Identity, loadIdentity } from '../../agent/trust/identity.ts'
import { pushMessage, requestKinds } from '../../protocol/messages.ts'
import type { MemberValue } from '../../protocol/model.ts'
import { admitted, registry, station } from '../contract/transport/stations.ts'
import { until } from '../until.ts'
import type { Agent } from './cluster.ts'

export interface Insider {
  readonly identity: Identity
  gossip(topic: string, bytes: Uint8Array): void
  /** Rejects like every request that fails. */
  ask(kind: string, bytes: Uint8Array): Promise<Uint8Array>
  /** What its TLS connections to the mesh are made with. */
  readonly secure: SecureContext
  close(): Promise<void>
}

export async function openInsider(agent: Agent): Promise<Insider> {
  const issuer = loadIdentity(agent.dir)
  const belonging: { cluster: string; certificate: string } = JSON.parse(
    readFileSync(join(agent.dir, 'cluster.json'), 'utf8'),
  )
  const { cluster } = belonging
  const identity = createIdentity()
  const certificate = admitted(issuer, Buffer.from(belonging.certificate, 'base64'), identity)
  const state = registry()
  state.members.set(issuer.nodeId, { node: issuer.nodeId, peerId: issuer.peerId, listen: [agent.multiaddr] })
  const { transport } = await station({ identity, cluster, certificate, state })
  transport.refresh()
  await until(() => transport.connected().includes(issuer.nodeId), { deadlineMs: 10_000, what: 'the insider to be in' })
  const ask = (kind: string, bytes: Uint8Array) => transport.request(issuer.nodeId, kind, bytes, 5_000)
  const value: MemberValue = {
    name: 'insider',
    peerId: identity.peerId,
    boot: 'none',
    run: 'none',
    startedMs: 1,
    presence: 'left',
    listen: [],
    mesh: [],
    addresses: [],
    networks: [],
    engineLabels: {},
    platform: { os: 'linux', arch: 'x86_64' },
    resources: { nanoCpus: 0, memoryBytes: 0 },
    version: 'test',
    runtimes: [],
    dataplane: 'userspace',
    certificate: Uint8Array.from(certificate),
  }
  const author = { node: identity.nodeId, log: 'insider' }
  const version = { ms: Date.now(), counter: 0, node: identity.nodeId }
  const record = { scope: 'cluster', kind: 'member', id: identity.nodeId, value, version, author, seq: 1 } as const
  await ask(requestKinds.push, pushMessage('cluster', { records: [record], covered: new Map() }, true))
  const key = identity.privateKey.export({ type: 'pkcs8', format: 'pem' })
  return {
    identity,
    gossip: (topic, bytes) => transport.publish(topic, bytes),
    ask,
    secure: createSecureContext({ key, cert: selfSigned(identity.privateKey), minVersion: 'TLSv1.3' }),
    close: () => transport.stop(),
  }
}
