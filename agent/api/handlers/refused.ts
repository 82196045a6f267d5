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
const notLocked = {
  code: 'unsupported',
  sentence: 'this cluster has no unlock key: it has no manager store to lock',
} as const
const noContainers = { code: 'unsupported', sentence: 'networks connect services here, not single containers' } as const

export const refusedPaths: readonly RefusedPath[] = [
  { method: 'POST', path: '/swarm/init', code: 'unavailable', sentence: 'This node is already part of a swarm.' },
  {
    method: 'POST',
    path: '/swarm/join',
    code: 'unavailable',
    sentence: 'This node is already part of a swarm.',
    fix: 'To join another, stop the agent and start it with: vine agent --join … --token …',
  },
  {
    method: 'POST',
    path: '/swarm/update',
    code: 'unsupported',
    sentence: 'a cluster of Grapevine has no raft, dispatcher or certificate settings to change',
    fix: 'To end join tokens: vine token --rotate',
  },
  { method: 'GET', path: '/swarm/unlockkey', ...notLocked },
  { method: 'POST', path: '/swarm/unlock', ...notLocked },
  { method: 'POST', path: '/secrets/create', ...noSecrets },
  { method: 'GET', path: '/secrets/{id}', ...noSecrets },
  { method: 'DELETE', path: '/secrets/{id}', ...noSecrets },
  { method: 'POST', path: '/secrets/{id}/update', ...noSecrets },
  { method: 'POST', path: '/configs/create', ...noConfigs },
  { method: 'GET', path: '/configs/{id}', ...noConfigs },
  { method: 'DELETE', path: '/configs/{id}', ...noConfigs },
  { method: 'POST', path: '/configs/{id}/update', ...noConfigs },
  { method: 'POST', path: '/networks/{id}/connect', ...noContainers },
  { method: 'POST', path: '/networks/{id}/disconnect', ...noContainers },
]

export const refusedRoutes: readonly Route[] = refusedPaths.map(({ method, path, code, sentence, fix }) => ({
  method,
  path,
  handle: () => {
    throw fault(code, sentence, fix)
  },
}))
