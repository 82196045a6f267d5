/**
 * What this machine says of itself in its member record.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism, machine, platform, totalmem } from 'node:os'
import type { AgentConfig } from '../config.ts'
import type { SelfFacts } from '../node.ts'
import type { Identity } from '../trust/identity.ts'
import type { Chosen } from './dataplane.ts'
import type { Wireguard } from './linux.ts'
import type { ChosenRuntime } from './runtime.ts'

export interface Reachable {
  readonly listen: readonly string[]
  readonly mesh: readonly { readonly host: string; readonly port: number }[]
  readonly certificate: Uint8Array
  readonly dataplane: Chosen
  readonly runtime: ChosenRuntime
  readonly wireguard: SelfFacts['wireguard']
}

export function selfFacts(config: AgentConfig, identity: Identity, reachable: Reachable): SelfFacts {
  return {
    name: config.node.name,
    peerId: identity.peerId,
    boot: bootId(),
    listen: [...reachable.listen],
    mesh: [...reachable.mesh],
    addresses: [...config.dataplane.addresses],
    engineLabels: { ...config.node.labels },
    // As the kernel has it (`uname -m`), which is what Docker's nodes say.
    platform: { os: platform(), arch: machine() },
    resources: { nanoCpus: availableParallelism() * 1e9, memoryBytes: totalmem() },
    version: agentVersion,
    runtimes: [reachable.runtime.kind],
    ...(reachable.runtime.version === undefined ? {} : { docker: reachable.runtime.version.slice(0, 64) }),
    ...(reachable.runtime.reason === undefined ? {} : { runtimeReason: reachable.runtime.reason.slice(0, 1_000) }),
    dataplane: reachable.dataplane.kind,
    ...(reachable.dataplane.reason === undefined ? {} : { dataplaneReason: reachable.dataplane.reason }),
    ...(reachable.dataplane.kind === 'linux' ? { dataPathPort: config.dataplane.dataPathPort } : {}),
    ...(reachable.wireguard === undefined ? {} : { wireguard: reachable.wireguard }),
    ...(reachable.dataplane.noIpv6 === undefined ? {} : { noIpv6: reachable.dataplane.noIpv6 }),
    certificate: reachable.certificate,
  }
}

export async function wireguardFacts(wireguard: Wireguard | undefined): Promise<SelfFacts['wireguard']> {
  if (wireguard === undefined) return undefined
  const { key, port } = wireguard
  const lack = await wireguard.lack()
  return { key, port, ...(lack === undefined ? {} : { lack: lack.slice(0, lackCharactersMax) }) }
}

/** As the record takes it (protocol/model.ts). */
const lackCharactersMax = 1_000

/** Drawn by the kernel at each boot (random(4)). Elsewhere than on Linux no agent runs. */
function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

export const agentVersion: string = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
).version
