/**
 * Where a client's address falls in a table of `size` places, as the kernel's `jhash ip saddr mod size seed` computes it (nft_hash.c, Linux 6.18),
 * so that a node that forwards in its kernel and one that forwards in this process send a client to the same endpoint.
 */
import { parseAddress } from '../addresses/ipv4.ts'

/** Any number would do, but the same on every node and in every version. */
export const clientSeed = 0x6776_696e

/** Undefined when it is no IPv4 address: the kernel's table is for those. */
export function clientPlace(client: string, size: number): number | undefined {
  const address = parseAddress(client)
  if (address === undefined) return undefined
  // The kernel's reciprocal_scale: the hash as a fraction of 2^32, so the high bits decide.
  return Number((BigInt(jhash4(address, clientSeed)) * BigInt(size)) >> 32n)
}

/** Bob Jenkins' lookup3 over four bytes in network order, as include/linux/jhash.h reads them on little-endian machines. */
function jhash4(address: number, seed: number): number {
  const start = (0xdead_beef + 4 + seed) | 0
  const swapped =
    ((address >>> 24) & 0xff) |
    ((address >>> 8) & 0xff00) |
    ((address << 8) & 0xff_0000) |
    ((address << 24) & 0xff00_0000)
  let a = (start + swapped) | 0
  let b = start
  let c = start
  c = ((c ^ b) - rotate(b, 14)) | 0
  a = ((a ^ c) - rotate(c, 11)) | 0
  b = ((b ^ a) - rotate(a, 25)) | 0
  c = ((c ^ b) - rotate(b, 16)) | 0
  a = ((a ^ c) - rotate(c, 4)) | 0
  b = ((b ^ a) - rotate(a, 14)) | 0
  c = ((c ^ b) - rotate(b, 24)) | 0
  return c >>> 0
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by))
}
