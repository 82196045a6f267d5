/**
 * Asks another node by the same API path (design.md 10), and speaks HTTP over a byte stream of the mesh.
 *
 * A relayed request is marked and never relayed again, so two views that disagree cannot send one in circles.
 */
import type { Duplex, Readable } from 'node:stream'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { nodeName } from '../core/live.ts'
import { Fault, fault, reasonOf } from '../fault.ts'
import { http } from '../http.ts'
import type { ApiContext, RelayRequest, RelayResponse } from './context.ts'
import { type ApiRequest, json, type Reply } from './exchange.ts'
import { relayedHeader } from './headers.ts'

/** Answers with what the node answered. Its errors become ours; an unreachable node is named. */
export async function relayJson(context: ApiContext, node: NodeId, request: ApiRequest): Promise<Reply> {
  const query = request.query.size === 0 ? '' : `?${request.query}`
  const { status, body } = await ask(context, node, {
    method: request.method,
    path: `${request.path}${query}`,
    signal: request.signal,
  })
  return json(body, status)
}

/** One JSON answer of another node. */
export async function ask(
  context: ApiContext,
  node: NodeId,
  request: { readonly method: string; readonly path: string; readonly signal: AbortSignal },
): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await relayed(context, node, request)
  const text = await readBounded(response.body)
  try {
    return { status: response.status, body: JSON.parse(text) }
  } catch (cause) {
    throw fault('unavailable', `node ${nodeName(context.view, node)} answered with no JSON`, undefined, cause)
  }
}

/** The raw answer of another node. Throws a Fault that names the node. */
export async function relayed(
  context: ApiContext,
  node: NodeId,
  request: { readonly method: string; readonly path: string; readonly signal: AbortSignal },
): Promise<RelayResponse> {
  try {
    return await context.relay(node, { ...request, headers: { [relayedHeader]: context.view.self } })
  } catch (cause) {
    const why = cause instanceof Fault ? cause.message : reasonOf(cause)
    throw fault('unavailable', `node ${nodeName(context.view, node)} is not available: ${why}`, undefined, cause)
  }
}

/** For node composition: one HTTP exchange over a stream of the mesh that the other end hands to `ApiServer.serve`. */
export function requestOver(stream: Duplex, request: RelayRequest): Promise<RelayResponse> {
  // http listens to the stream only while the exchange lasts; a late error must not end the agent.
  stream.on('error', () => stream.destroy())
  return new Promise((resolve, reject) => {
    const outgoing = http.request({
      method: request.method,
      path: request.path,
      headers: { ...request.headers, host: 'vine', connection: 'close' },
      createConnection: () => stream,
      signal: request.signal,
    })
    outgoing.on('response', (incoming) =>
      resolve({ status: incoming.statusCode ?? 500, headers: incoming.headers, body: incoming }),
    )
    outgoing.on('error', (cause) => reject(fault('unavailable', reasonOf(cause), undefined, cause)))
    outgoing.end()
  })
}

/** A body as text; one that is larger than any answer of ours is an error. */
export async function readBounded(body: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limits.apiBodyBytesMax) throw fault('too-large', 'the answer of the other node is too large')
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks).toString('utf8')
}
