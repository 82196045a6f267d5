/**
 * Where others reach this agent: the mesh beside the control plane, and the address that a joining machine is told.
 */
import type { AgentConfig } from '../config.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** The mesh listens beside the control plane, on the next port. */
export function meshPlaces(config: AgentConfig): readonly HostPort[] {
  return config.transport.listen.map((address) => {
    const [, , host = '0.0.0.0', , port = '0'] = address.split('/')
    return { host, port: Number(port) === 0 ? 0 : Number(port) + 1 }
  })
}

/** Where others dial the mesh: the hosts they reach the control plane by, with the mesh's port. */
export function meshAddresses(
  config: AgentConfig,
  listening: readonly string[],
  own: readonly HostPort[],
): readonly HostPort[] {
  const { advertise } = config.transport
  const port = own[0]?.port ?? 0
  const hosts = advertise.length > 0 ? advertise : listening.map((address) => address.split('/')[2] ?? '')
  return [...new Set(hosts)].filter((host) => host !== '').map((host) => ({ host, port }))
}

/** The first address that another machine can dial; its /p2p/ part may be left out. */
export function joinAddress(listening: readonly string[]): string {
  const plain = listening.map((address) => address.replace(/\/p2p\/.*$/, ''))
  return plain.find((address) => !address.includes('/127.')) ?? plain[0] ?? '<address>'
}
