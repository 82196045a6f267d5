/**
 * What the transport and the mesh ask of the replicated state: who is a member, who was removed, which tokens admit.
 */
import { encode } from '../../protocol/codec.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { nodeName } from '../core/live.ts'
import type { View } from '../core/view.ts'
import type { MeshMembers } from '../mesh/mesh.ts'
import type { Admission } from '../transport/admission.ts'

export function admissionOf(view: View): Admission {
  return {
    isMember: (node) => view.members.has(node),
    isRemoved: (node) => view.removals.has(node),
    removal(node) {
      const value = view.removals.get(node)?.value
      return value === undefined
        ? undefined
        : { by: value.by, atMs: value.atMs, signature: Uint8Array.from(value.signature) }
    },
    token: (id) => view.tokens.get(id)?.value,
    members: () =>
      [...view.members.values()]
        .filter((member) => member.id !== view.self && member.record.value.presence !== 'left')
        .map(({ id, record }) => ({ node: id, peerId: record.value.peerId, listen: record.value.listen })),
    nameOf: (node) => (view.members.has(node) ? nodeName(view, node) : undefined),
    // A newcomer takes everything by its first sync, at once after the hello.
    seed: () => encode({}),
  }
}

/** The mesh begins before the view is open, so it asks for the view each time. */
export function meshMembersOf(view: () => View | undefined): MeshMembers {
  return {
    isMember: (node: NodeId) => view()?.members.has(node) ?? false,
    meshAddresses: (node: NodeId) => view()?.members.get(node)?.record.value.mesh ?? [],
  }
}
