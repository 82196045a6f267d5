/** Every path that the API answers. Order matters where two fit: the first wins. */

import { engineRoutes } from './engine/paths.ts'
import { dockerEvents, nodeEvents } from './handlers/events.ts'
import * as grapevine from './handlers/grapevine.ts'
import { connectContainer, createContainer, disconnectContainer } from './handlers/guests.ts'
import { serviceLogs, taskLogs } from './handlers/logs.ts'
import { createNetwork, getNetwork, listNetworks, pruneNetworks, removeNetwork } from './handlers/networks.ts'
import { inspectNode, listNodes, removeNode, updateNode } from './handlers/nodes.ts'
import { refusedRoutes } from './handlers/refused.ts'
import { createService, inspectService, listServices, removeService, updateService } from './handlers/services.ts'
import { leave, swarm, updateSwarm } from './handlers/swarm.ts'
import { distribution, info, none, ping, version } from './handlers/system.ts'
import { inspectTask, listTasks } from './handlers/tasks.ts'
import type { Route } from './router.ts'

export const routes: readonly Route[] = [
  { method: 'GET', path: '/_ping', handle: ping },
  { method: 'HEAD', path: '/_ping', handle: ping },
  { method: 'GET', path: '/version', handle: version },
  { method: 'GET', path: '/info', handle: info },
  { method: 'GET', path: '/swarm', handle: swarm },
  { method: 'POST', path: '/swarm/leave', handle: leave },
  { method: 'POST', path: '/swarm/update', handle: updateSwarm },
  { method: 'GET', path: '/distribution/{name...}/json', handle: distribution },

  { method: 'GET', path: '/nodes', handle: listNodes },
  { method: 'GET', path: '/nodes/{id}', handle: inspectNode },
  { method: 'POST', path: '/nodes/{id}/update', handle: updateNode },
  { method: 'DELETE', path: '/nodes/{id}', handle: removeNode },

  { method: 'GET', path: '/services', handle: listServices },
  { method: 'POST', path: '/services/create', handle: createService },
  { method: 'GET', path: '/services/{id}', handle: inspectService },
  { method: 'POST', path: '/services/{id}/update', handle: updateService },
  { method: 'DELETE', path: '/services/{id}', handle: removeService },

  { method: 'GET', path: '/tasks', handle: listTasks },
  { method: 'GET', path: '/tasks/{id}', handle: inspectTask },

  { method: 'GET', path: '/networks', handle: listNetworks },
  { method: 'POST', path: '/networks/create', handle: createNetwork },
  { method: 'POST', path: '/networks/prune', handle: pruneNetworks },
  { method: 'GET', path: '/networks/{id}', handle: getNetwork },
  { method: 'DELETE', path: '/networks/{id}', handle: removeNetwork },
  { method: 'POST', path: '/networks/{id}/connect', handle: connectContainer },
  { method: 'POST', path: '/networks/{id}/disconnect', handle: disconnectContainer },

  { method: 'POST', path: '/containers/create', handle: createContainer },

  { method: 'GET', path: '/secrets', handle: none },
  { method: 'GET', path: '/configs', handle: none },

  { method: 'GET', path: '/services/{id}/logs', handle: serviceLogs },
  { method: 'GET', path: '/tasks/{id}/logs', handle: taskLogs },
  { method: 'GET', path: '/events', handle: dockerEvents },

  { method: 'GET', path: '/grapevine/status', handle: grapevine.status },
  { method: 'GET', path: '/grapevine/why/{service}', handle: grapevine.why },
  { method: 'POST', path: '/grapevine/token', handle: grapevine.token },
  { method: 'GET', path: '/grapevine/resolve', handle: grapevine.resolve },
  { method: 'GET', path: '/grapevine/events', handle: nodeEvents },
  { method: 'GET', path: '/grapevine/flows', handle: grapevine.flows },
  { method: 'GET', path: '/grapevine/doctor', handle: grapevine.doctor },
  { method: 'POST', path: '/grapevine/clean', handle: grapevine.clean },
  { method: 'GET', path: '/grapevine/node', handle: grapevine.node },
  { method: 'GET', path: '/grapevine/metrics', handle: grapevine.metrics },
  { method: 'POST', path: '/grapevine/stop', handle: grapevine.stop },
  { method: 'POST', path: '/grapevine/leave', handle: grapevine.leave },

  ...refusedRoutes,
  ...engineRoutes,
]
