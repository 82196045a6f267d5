/**
 * Paths of Docker's swarm API that are answered with a sentence instead of a service, and why. The contract test holds this list and the
 * routes against swagger.yaml: each swarm path is in one of the two.
 */
import { type FaultCode, fault } from '../../fault.ts'
import type { Route } from '../router.ts'

interface RefusedPath {
  readonly method: Route['method']
  readonly path: string
  readonly code: FaultCode
  readonly sentence: string
  readonly fix?: string
}

const noSecrets = { code: 'unsupported', sentence: 'Grapevine does not support secrets yet' } as const
const noConfigs = { code: 'unsupported', sentence: 'Grapevine does not support configs yet' } as const
/** `docker inspect NAME` asks here last, and takes a 404 for the truth that it is. */
const noSuchSecret = { code: 'not-found', sentence: 'no such secret: Grapevine does not support secrets yet' } as const
const noSuchConfig = { code: 'not-found', sentence: 'no such config: Grapevine does not support configs yet' } as const
const notLocked = {
  code: 'unsupported',
  sentence: 'this cluster has no unlock key: it has no manager store to lock',
} as const

export const refusedPaths: readonly RefusedPath[] = [
  { method: 'POST', path: '/swarm/init', code: 'unavailable', sentence: 'This node is already part of a swarm.' },
  {
    method: 'POST',
    path: '/swarm/join',
    code: 'unavailable',
    sentence: 'This node is already part of a swarm.',
    fix: 'To join another, stop the agent and start it with: vine agent --join … --token …',
  },
  { method: 'GET', path: '/swarm/unlockkey', ...notLocked },
  { method: 'POST', path: '/swarm/unlock', ...notLocked },
  { method: 'POST', path: '/secrets/create', ...noSecrets },
  { method: 'GET', path: '/secrets/{id}', ...noSuchSecret },
  { method: 'DELETE', path: '/secrets/{id}', ...noSuchSecret },
  { method: 'POST', path: '/secrets/{id}/update', ...noSuchSecret },
  { method: 'POST', path: '/configs/create', ...noConfigs },
  { method: 'GET', path: '/configs/{id}', ...noSuchConfig },
  { method: 'DELETE', path: '/configs/{id}', ...noSuchConfig },
  { method: 'POST', path: '/configs/{id}/update', ...noSuchConfig },
]

export const refusedRoutes: readonly Route[] = refusedPaths.map(({ method, path, code, sentence, fix }) => ({
  method,
  path,
  handle: () => {
    throw fault(code, sentence, fix)
  },
}))
