/**
 * The swarm and this node as Docker's `/swarm`, `/info` and `/version` show them. Fields of Docker that ask about containers or images of
 * one machine are left out: absent says "not known" to Docker's clients.
 */
import os from 'node:os'
import { isId } from '../../../protocol/ids.ts'
import { isUp, nodeName } from '../../core/live.ts'
import type { View } from '../../core/view.ts'
import type { ApiContext } from '../context.ts'
import { apiVersion, apiVersionMin } from '../router.ts'
import { addressOf, joinAddress } from './node.ts'
import { idOf, stamps, time } from './stamps.ts'

export function renderSwarm(view: View) {
  // Tokens are kept as hashes only, so there is none to show: Docker's client prints in its place where to get one.
  const hint = '(print one with: vine token)'
  return { ...renderCluster(view), JoinTokens: { Worker: hint, Manager: hint } }
}

function renderCluster(view: View) {
  const settings = view.settings
  const created = settings?.value.created ?? { ms: 0, counter: 0, node: '' }
  return {
    ID: clusterId(view),
    ...stamps(settings?.version ?? created, created),
    Spec: {
      Name: settings?.value.name ?? '',
      Labels: {},
      Orchestration: { TaskHistoryRetentionLimit: 5 },
      Raft: {},
      Dispatcher: {},
      CAConfig: {},
      TaskDefaults: {},
      EncryptionConfig: { AutoLockManagers: false },
    },
    TLSInfo: {},
    RootRotationInProgress: false,
    DefaultAddrPool: [settings?.value.addressPool ?? '10.0.0.0/8'],
    SubnetSize: 24,
    DataPathPort: dataPathPort(view),
  }
}

/** Where traffic between tasks of this node and others arrives: the tunnels' UDP port, in user space that of the mesh. */
function dataPathPort(view: View): number {
  const own = view.members.get(view.self)?.record.value
  return own?.dataPathPort ?? own?.mesh[0]?.port ?? 0
}

/** Docker's form of the cluster's id. */
export function clusterId(view: View): string {
  const settings = view.settings
  if (settings === undefined) return idOf('swarm')
  return isId(settings.id)
    ? settings.id
    : idOf(`swarm/${settings.id}/${settings.value.name}/${settings.value.created.ms}`)
}

export function renderInfo(context: ApiContext) {
  const { view } = context
  const self = view.members.get(view.self)
  const members = [...view.members.values()]
  return {
    ID: view.self,
    Containers: view.tasks.size,
    Driver: self?.record.value.dataplane ?? '',
    Name: nodeName(view, view.self),
    ServerVersion: context.agentVersion,
    OperatingSystem: 'Grapevine',
    OSType: 'linux',
    KernelVersion: os.release(),
    Architecture: self?.record.value.platform.arch ?? os.arch(),
    NCPU: os.availableParallelism(),
    MemTotal: os.totalmem(),
    SystemTime: time(context.clock.wall()),
    Labels: Object.entries(self?.record.value.engineLabels ?? {}).map(([key, value]) => `${key}=${value}`),
    DefaultRuntime: self?.record.value.runtimes[0] ?? 'process',
    LiveRestoreEnabled: true,
    ExperimentalBuild: false,
    Plugins: { Volume: [], Network: ['overlay'], Authorization: [], Log: ['local'] },
    Warnings: [...context.health().warnings],
    Swarm: {
      NodeID: view.self,
      NodeAddr: self === undefined ? '' : addressOf(self),
      LocalNodeState: 'active',
      ControlAvailable: true,
      Error: '',
      RemoteManagers: members.filter(isUp).map((member) => ({ NodeID: member.id, Addr: joinAddress(member) })),
      Nodes: members.length,
      Managers: members.length,
      Cluster: renderCluster(view),
    },
  }
}

export function renderVersion(context: ApiContext) {
  const version = context.agentVersion
  return {
    Platform: { Name: 'Grapevine' },
    Components: [
      { Name: 'Grapevine', Version: version, Details: { ApiVersion: apiVersion, MinAPIVersion: apiVersionMin } },
    ],
    Version: version,
    ApiVersion: apiVersion,
    MinAPIVersion: apiVersionMin,
    GitCommit: '',
    GoVersion: '',
    Os: 'linux',
    Arch: os.arch() === 'x64' ? 'amd64' : os.arch(),
    KernelVersion: os.release(),
    BuildTime: '',
  }
}
