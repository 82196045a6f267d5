/**
 * Identifiers: 25 characters of base36, as Docker's swarm ids are, so that tools which check their form accept ours.
 *
 * 25 characters of base36 hold 129 bits; ids are drawn from, or hashed to, 16 bytes or more. This file never draws chance itself.
 */

/** A node: the hash of its peer id, so that nobody can take another node's id. */
export type NodeId = string
export type NetworkId = string
export type ServiceId = string
export type TaskId = string
/** A connection of a container that is no task to a network. */
export type GuestId = string
/** Position of a task in its service: 1..replicas as text, or the node's id in a global service. It outlives its tasks. */
export type Slot = string

export const idLength = 25

/** Makes an id of 16 or more bytes (random, or a hash). Equal bytes give equal ids. */
export function idFromBytes(bytes: Uint8Array): string {
  let value = 0n
  for (const byte of bytes.subarray(0, 16)) value = (value << 8n) | BigInt(byte)
  return value.toString(36).padStart(idLength, '0')
}

/** Whether a text has the form of an id. */
export function isId(text: string): boolean {
  return /^[0-9a-z]{25}$/.test(text)
}
