import { afterEach, expect, test } from 'vitest'
import { foundCluster } from '../../../agent/trust/certificate.ts'
import { createIdentity } from '../../../agent/trust/identity.ts'
import { type LibStation, registry, station } from './stations.ts'

const made: LibStation[] = []
afterEach(async () => {
  await Promise.all(made.splice(0).map(({ transport }) => transport.stop()))
})

test('a listen address that is taken is told as such, with a remedy', async () => {
  const identity = createIdentity()
  const { cluster, certificate } = foundCluster(identity)
  const first = await station({ identity, cluster, certificate, state: registry() })
  made.push(first)
  const [listen] = first.transport.listening()
  const second = station({
    identity: createIdentity(),
    cluster,
    certificate: undefined,
    state: registry(),
    listen: listen!,
  })
  await expect(second).rejects.toMatchObject({ code: 'port-taken', fix: expect.stringContaining('--listen') })
})
