/**
 * One agent's API asked by another, over a stream of the mesh: what only that node knows (logs, a name as its task sees it).
 */
import { request as httpRequest } from 'node:http'
import type { RelayRequest, RelayResponse } from '../api/context.ts'
import { fault, reasonOf } from '../fault.ts'
import type { Mesh } from '../world.ts'

export async function relay(mesh: Mesh, node: string, asked: RelayRequest): Promise<RelayResponse> {
  const stream = await mesh.openStream(node)
  return new Promise((resolve, reject) => {
    const asking = httpRequest(
      {
        method: asked.method,
        path: asked.path,
        headers: { host: 'agent', connection: 'close', ...asked.headers },
        signal: asked.signal,
        createConnection: () => stream,
      },
      (response) => resolve({ status: response.statusCode ?? 502, headers: response.headers, body: response }),
    )
    asking.on('error', (error) => {
      stream.destroy()
      reject(fault('unavailable', `The node did not answer: ${reasonOf(error)}`, undefined, error))
    })
    asking.end()
  })
}
