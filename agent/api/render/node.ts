/**
 * A node in Docker's shape (swagger.yaml, Node). Every node is a reachable manager and none leads: there is nothing to lead (design.md 10).
 */

import { nodeIndex } from '../../core/admit/node.ts'
import { isUp, nodeName } from '../../core/live.ts'
import type { Liveness, Member, View } from '../../core/view.ts'
import { time } from './stamps.ts'

export function renderNode(view: View, member: Member) {
  const { value, version } = member.record
  const spec = member.node.spec
  const address = addressOf(member)
  const problems = [...new Set((value.problems ?? []).map(({ sentence }) => sentence))]
  return {
    ID: member.id,
    Version: { Index: nodeIndex(member) },
    CreatedAt: time(member.node.created.ms === 0 ? value.startedMs : member.node.created.ms),
    UpdatedAt: time(Math.max(version.ms, member.nodeVersion?.ms ?? 0)),
    Spec: {
      ...(spec.Name === undefined ? {} : { Name: spec.Name }),
      Labels: spec.Labels ?? {},
      Role: 'manager',
      Availability: spec.Availability,
    },
    Description: {
      Hostname: nodeName(view, member.id),
      Platform: { Architecture: value.platform.arch, OS: value.platform.os },
      Resources: { NanoCPUs: value.resources.nanoCpus, MemoryBytes: value.resources.memoryBytes },
      Engine: {
        EngineVersion: value.version,
        Labels: value.engineLabels,
        Plugins: [{ Type: 'Network', Name: 'overlay' }],
      },
      TLSInfo: {},
      // No word of Docker's: what tasks are here, and why not containers where Docker seems to be.
      Runtime: {
        Name: value.runtimes[0] ?? 'process',
        ...(value.docker === undefined ? {} : { Version: value.docker }),
        ...(value.runtimeReason === undefined ? {} : { Reason: value.runtimeReason }),
      },
      // No word of Docker's: who forwards on this node, why not the kernel where that was asked for, and what of it does not work.
      Dataplane: {
        Name: value.dataplane,
        ...(value.dataplaneReason === undefined ? {} : { Reason: value.dataplaneReason }),
        ...(value.noIpv6 === undefined ? {} : { NoIPv6: value.noIpv6 }),
        ...(value.wireguard === undefined
          ? {}
          : { WireGuard: { Port: value.wireguard.port, Lack: value.wireguard.lack ?? '' } }),
        ...(problems.length === 0 ? {} : { Problems: problems }),
      },
    },
    Status: { State: isUp(member) ? 'ready' : 'down', Message: message[member.liveness], Addr: address },
    ManagerStatus: {
      Leader: false,
      Reachability: isUp(member) ? 'reachable' : 'unreachable',
      Addr: joinAddress(member),
    },
  }
}

/** First address at which the node's published ports answer. */
export function addressOf(member: Member): string {
  return member.record.value.addresses[0] ?? member.record.value.mesh[0]?.host ?? ''
}

/** host:port of the control plane. */
export function joinAddress(member: Member): string {
  const match = /^\/(?:ip4|ip6|dns4|dns6|dns)\/([^/]+)\/tcp\/(\d+)/.exec(member.record.value.listen[0] ?? '')
  return match === null ? addressOf(member) : `${match[1]}:${match[2]}`
}

const message: Readonly<Record<Liveness, string>> = {
  alive: '',
  suspect: 'suspect: it does not answer probes',
  dead: 'it does not answer',
  left: 'it has left',
}
