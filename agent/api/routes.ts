/** Every path that the API answers. Order matters where two fit: the first wins. */
import { createNetwork, getNetwork, listNetworks, pruneNetworks, removeNetwork } from './handlers/networks.ts'
import { inspectNode, listNodes, removeNode, updateNode } from './handlers/nodes.ts'
import { refusedRoutes } from './handlers/refused.ts'
import { createService, inspectService, listServices, removeService, updateService } from './handlers/services.ts'
import { distribution, info, leave, ping, swarm, version } from './handlers/system.ts'
import { inspectTask, listTasks } from './handlers/tasks.ts'
import type { Route } from './router.ts'

export const routes: readonly Route[] = [
  { method: 'GET', path: '/_ping', handle: ping },
  { method: 'HEAD', path: '/_ping', handle: ping },
  { method: 'GET', path: '/version', handle: version },
  { method: 'GET', path: '/info', handle: info },
  { method: 'GET', path: '/swarm', handle: swarm },
  { method: 'POST', path: '/swarm/leave', handle: leave },
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

  ...refusedRoutes,
]
