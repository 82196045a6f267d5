/**
 * The integer hashes that placement and addresses draw their order from.
 *
 * Every node must get the same number from the same text, on every architecture and release: 32-bit integer arithmetic only, no floats,
 * and the functions are fixed for the life of the wire version. FNV-1a for text (Fowler, Noll, Vo), then murmur3's finaliser, since
 * FNV alone leaves ids that differ in their last letter close together.
 */

/** A well-mixed unsigned 32-bit hash of a text. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return mix(hash)
}

/**
 * Rendezvous score (Thaler and Ravishankar, 1998) of two hashes: the highest wins. When a node leaves, only what it held moves,
 * because the scores of the others do not change.
 */
export function score(slotHash: number, nodeHash: number): number {
  return mix(slotHash ^ Math.imul(nodeHash, 0x9e3779b1))
}

function mix(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
