/**
 * Whom this node takes for a member: the replicated state first, and what the transport learned by itself before the state did.
 *
 * The latter is kept only until the state has it: members named by the node that admitted us, and writers whose certificate came with their message.
 */
import type { NodeId } from '../../protocol/ids.ts'
import { checkCertificate } from '../trust/certificate.ts'
import type { Admission, KnownMember } from './admission.ts'
import { keepsWith, meshPeers } from './mesh.ts'

export interface Known {
  find(node: NodeId): KnownMember | undefined
  /** Named in a welcome. */
  tell(members: readonly KnownMember[]): void
  told(): readonly KnownMember[]
  /** Nodes that this one keeps connections with. */
  wanted(): readonly NodeId[]
  /** Whether it would be wanted if it is a member. */
  keeps(node: NodeId): boolean
  /** Whether what this node wrote counts; `certificate` came with the message. */
  accepts(writer: NodeId, certificate: Uint8Array | undefined): boolean
  /** Forgets what the state knows by now. */
  refresh(): void
}

/** Writers known by a certificate that came with a message; a cluster has fewer newcomers a minute. */
const vouchedMax = 2_000

export function knownMembers(self: NodeId, cluster: string, admission: Admission): Known {
  const told = new Map<NodeId, KnownMember>()
  const vouched = new Set<NodeId>()
  const isRemoved = (node: NodeId) => admission.isRemoved(node)

  function find(node: NodeId): KnownMember | undefined {
    return admission.members().find((member) => member.node === node) ?? told.get(node)
  }

  function tell(members: readonly KnownMember[]): void {
    for (const member of members) if (member.node !== self && !isRemoved(member.node)) told.set(member.node, member)
  }

  function everyone(): readonly NodeId[] {
    return [...new Set([...admission.members().map((member) => member.node), ...told.keys()])]
  }

  function wanted(): readonly NodeId[] {
    return meshPeers(self, everyone()).filter((node) => !isRemoved(node))
  }

  function keeps(node: NodeId): boolean {
    return keepsWith(self, everyone(), node)
  }

  function accepts(writer: NodeId, certificate: Uint8Array | undefined): boolean {
    if (isRemoved(writer)) return false
    if (admission.isMember(writer) || vouched.has(writer) || told.has(writer)) return true
    if (certificate === undefined) return false
    const checked = checkCertificate(certificate, { cluster, node: writer, isRemoved, isMember: () => false })
    if (!checked.ok) return false
    if (vouched.size >= vouchedMax) vouched.clear()
    vouched.add(writer)
    return true
  }

  function refresh(): void {
    for (const node of [...told.keys()]) if (admission.isMember(node) || isRemoved(node)) told.delete(node)
    for (const node of [...vouched]) if (admission.isMember(node) || isRemoved(node)) vouched.delete(node)
  }

  return { find, tell, told: () => [...told.values()], wanted, keeps, accepts, refresh }
}
