/**
 * Opens what others ask this agent by: the API's socket, the same API over TCP with certificates and for other agents over the mesh, and
 * metrics over TCP.
 */
import type { Server } from 'node:http'
import type { ApiContext } from '../api/context.ts'
import { createApiServer } from '../api/server.ts'
import type { AgentConfig } from '../config.ts'
import { bindReason, fault } from '../fault.ts'
import { http } from '../http.ts'
import type { Mesh } from '../world.ts'

export interface Serving {
  close(): Promise<void>
}

export async function serve(config: AgentConfig, context: ApiContext, mesh: Mesh): Promise<Serving> {
  const { metrics } = config.api
  const server = metrics === undefined ? undefined : await serveMetrics(metrics, context.metrics)
  const api = await createApiServer(context, { socket: config.api.socket, tcp: config.api.tcp }).catch(
    (error: unknown) => {
      server?.close()
      throw error
    },
  )
  mesh.onStream((stream) => api.serve(stream))
  return {
    async close() {
      server?.close()
      await api.close()
    },
  }
}

function serveMetrics(place: { readonly host: string; readonly port: number }, text: () => string): Promise<Server> {
  const server = http.createServer((request, response) => {
    const known = request.method === 'GET' && /^\/(grapevine\/)?metrics$/.test(request.url ?? '')
    response.writeHead(known ? 200 : 404, { 'content-type': 'text/plain; version=0.0.4' })
    response.end(known ? text() : 'Metrics are at /metrics\n')
  })
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const sentence = `--metrics ${place.host}:${place.port} cannot be bound: ${bindReason(cause.message)}`
      reject(fault('port-taken', sentence, 'Choose another port', cause))
    })
    server.listen(place, () => resolve(server))
  })
}
