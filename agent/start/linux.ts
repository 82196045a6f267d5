/**
 * The linux data plane put together, loaded only where it is chosen: devices, firewall, and what names stand for on it.
 */
import { join } from 'node:path'
import type { AgentConfig } from '../config.ts'
import { overlayAddressOf, overlayTargetOf } from '../core/names/overlay.ts'
import { overlay } from '../core/routes/overlay.ts'
import type { View } from '../core/view.ts'
import { takenPorts } from '../dataplane/holders.ts'
import { areBridgesFiltered } from '../dataplane/linux/bridge-filter.ts'
import { createLinuxDataplane, type LinuxDataplane } from '../dataplane/linux/dataplane.ts'
import { createDevices } from '../dataplane/linux/devices.ts'
import { createPassage, type Passage } from '../dataplane/linux/docker-user.ts'
import { createEncryption } from '../dataplane/linux/encryption.ts'
import { createFirewall } from '../dataplane/linux/firewall.ts'
import { listensIpv6 } from '../dataplane/linux/listening.ts'
import { markOf, wireguardName } from '../dataplane/linux/names.ts'
import { underWay } from '../dataplane/linux/under-way.ts'
import type { UserspaceDataplane } from '../dataplane/userspace/dataplane.ts'
import type { HostName } from '../dataplane/userspace/hosts-files.ts'
import type { Identity } from '../trust/identity.ts'
import { loadWireguardKey } from '../trust/wireguard-key.ts'
import type { Outside } from './edges.ts'
import { cleanKernel } from './leftovers.ts'
import type { Addresses } from './names.ts'

export interface OpenedLinux {
  readonly plane: LinuxDataplane
  readonly wireguard: Wireguard
  readonly passage: Passage
}

/** How other nodes encrypt to this one. */
export interface Wireguard {
  readonly key: Uint8Array
  readonly port: number
  /** Why encrypted networks cannot be here now, as half a sentence. */
  lack(): Promise<string | undefined>
}

export interface LinuxParts {
  readonly config: AgentConfig
  readonly identity: Identity
  readonly forwarding: UserspaceDataplane
  readonly outside: Outside
  view(): View | undefined
}

export async function openLinux({ config, identity, forwarding, outside, view }: LinuxParts): Promise<OpenedLinux> {
  const { addresses, dataPathPort: vxlanPort, wireguardPort: port } = config.dataplane
  const self = identity.nodeId
  const { log, clock } = outside
  const mark = markOf(config.node.dataDir)
  const underlay = addresses[0] ?? ''
  const filtered = areBridgesFiltered
  const { publicKey, secret } = loadWireguardKey(config.node.dataDir)
  const key = Buffer.from(publicKey).toString('base64')
  const encryption = createEncryption({ self, mark, underlay, port, key, secret, clock, log })
  const onMade = () => firewall.lookSoon()
  const devices = await createDevices({ self, underlay, vxlanPort, filtered, mark, encryption, onMade, clock, log })
  const firewall = await createFirewall({
    clock,
    log,
    onRestored: () => log.warn('the nft table of the agent had been flushed by another program; it is whole again'),
  })
  const passage = await createPassage(mark, { clock, log })
  const plane = createLinuxDataplane({
    self,
    devices,
    firewall,
    forwarding,
    underWay,
    listensIpv6,
    clear: () => cleanKernel(config.node.dataDir, undefined),
    takenPorts: () => new Set([...takenPorts('udp'), ...takenPorts('tcp')]),
    addresses,
    encrypted: { device: wireguardName(mark), vxlanPort },
    overlay() {
      const now = view()
      return now === undefined ? undefined : overlay(now, self)
    },
    isKnown: (network) => view()?.networks.has(network) ?? false,
    dir: join(config.node.dataDir, 'hosts'),
    clock,
    log,
  })
  return { plane, passage, wireguard: { key: publicKey, port, lack: encryption.lack } }
}

/** Names of tasks with namespaces of their own: VIPs and their own addresses. */
export function overlayAddresses(view: () => View | undefined): Addresses {
  return {
    addressOf(target, family) {
      const now = view()
      return now === undefined ? undefined : overlayAddressOf(target, family, now)
    },
    targetOf(address) {
      const now = view()
      return now === undefined ? undefined : overlayTargetOf(address, now)
    },
  }
}

/** What Docker writes into a container's hosts file: its own name. All others are the resolver's, so that they are balanced and never stale. */
export function ownName(task: string, view: View | undefined): readonly HostName[] {
  const address = view?.tasks.get(task)?.value.addresses[0]
  if (view === undefined || address === undefined) return []
  const hostname = view.endpoints.get(address.network)?.get(task)?.value.hostname || task.slice(0, 12)
  return [{ name: hostname, address: address.address }]
}
