// One agent of the forwarding bench: mesh and data plane of production, and a table that the bench gives over IPC.
// Arguments: address, index of its key, keys as PEM in the environment variable KEYS, mesh ports in MESH.
import { createPrivateKey } from 'node:crypto'
import type { Routes } from '../../../agent/core/routes/types.ts'
import { createUserspaceDataplane } from '../../../agent/dataplane/userspace/dataplane.ts'
import { createMesh } from '../../../agent/mesh/mesh.ts'
import { createClock, createRandom } from '../../../agent/real.ts'
import { identityOf } from '../../../agent/trust/identity.ts'
import type { Attachment, AttachRequest } from '../../../agent/world.ts'

export type Order =
  | { readonly do: 'apply'; readonly routes: Routes }
  | { readonly do: 'adopt'; readonly request: AttachRequest; readonly attachment: Attachment }
  | { readonly do: 'report' }

const index = Number(process.argv[2])
const address = `127.0.0.${index + 1}`
const identities = (JSON.parse(process.env.KEYS!) as string[]).map((pem) => identityOf(createPrivateKey(pem)))
const meshPorts = JSON.parse(process.env.MESH!) as number[]
const log = { debug() {}, info() {}, warn: console.error, error: console.error }
const clock = createClock()
const mesh = await createMesh({
  identity: identities[index]!,
  listen: [{ host: address, port: meshPorts[index]! }],
  members: {
    isMember: () => true,
    meshAddresses: (node) => {
      const at = identities.findIndex((i) => i.nodeId === node)
      return [{ host: `127.0.0.${at + 1}`, port: meshPorts[at]! }]
    },
  },
  clock,
  log,
})
const plane = await createUserspaceDataplane({
  self: identities[index]!.nodeId,
  mesh,
  addresses: [address],
  clock,
  random: createRandom(),
  log,
  resolverFor: () => undefined,
})

process.on('message', async (order: Order) => {
  if (order.do === 'apply') process.send!(await plane.apply(order.routes))
  else if (order.do === 'adopt') process.send!((await plane.adopt(order.request, order.attachment)) ?? null)
  else {
    process.send!({
      cpu: process.cpuUsage(),
      rssBytes: process.memoryUsage.rss(),
      dropped: plane.counters().datagramsDropped,
      flows: plane.flows().length,
    })
  }
})
// An orderly exit, so that a run under --cpu-prof leaves its profile.
process.on('SIGTERM', () => process.exit(0))
process.on('disconnect', () => process.exit(0))
process.send!('ready')
