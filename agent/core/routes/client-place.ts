/**
 * Where a client's address falls in a table of `size` places, as the kernel's `jhash ip saddr mod size seed`, or of ip6, computes it (nft_hash.c, Linux 6.18),
 * so that a node that forwards in its kernel and one that forwards in this process send a client to the same endpoint.
 */
import { parseAddress } from '../addresses/ipv4.ts'
import { parseAddress6 } from '../addresses/ipv6.ts'

/** Any number would do, but the same on every node and in every version. */
export const clientSeed = 0x6776_696e

/** Undefined when it is no address. */
export function clientPlace(client: string, size: number): number | undefined {
  const words = wordsOf(client)
  // The kernel's reciprocal_scale: the hash as a fraction of 2^32, so the high bits decide.
  return words === undefined ? undefined : Number((BigInt(jhash(words, clientSeed)) * BigInt(size)) >> 32n)
}

/** One word, or four. */
function wordsOf(client: string): readonly number[] | undefined {
  const short = parseAddress(client)
  if (short !== undefined) return [short]
  const long = parseAddress6(client)
  return long === undefined ? undefined : [96n, 64n, 32n, 0n].map((shift) => Number((long >> shift) & 0xffff_ffffn))
}

/** Bob Jenkins' lookup3 over one or four words in network order, as include/linux/jhash.h reads them on little-endian machines. */
function jhash(words: readonly number[], seed: number): number {
  const start = (0xdead_beef + 4 * words.length + seed) | 0
  let [a, b, c] = [start, start, start]
  let rest = words
  if (rest.length > 3) {
    const [first = 0, second = 0, third = 0, ...others] = words
    a = (a + swapped(first)) | 0
    b = (b + swapped(second)) | 0
    c = (c + swapped(third)) | 0
    a = ((a - c) ^ rotate(c, 4)) | 0
    c = (c + b) | 0
    b = ((b - a) ^ rotate(a, 6)) | 0
    a = (a + c) | 0
    c = ((c - b) ^ rotate(b, 8)) | 0
    b = (b + a) | 0
    a = ((a - c) ^ rotate(c, 16)) | 0
    c = (c + b) | 0
    b = ((b - a) ^ rotate(a, 19)) | 0
    a = (a + c) | 0
    c = ((c - b) ^ rotate(b, 4)) | 0
    b = (b + a) | 0
    rest = others
  }
  a = (a + swapped(rest[0] ?? 0)) | 0
  c = ((c ^ b) - rotate(b, 14)) | 0
  a = ((a ^ c) - rotate(c, 11)) | 0
  b = ((b ^ a) - rotate(a, 25)) | 0
  c = ((c ^ b) - rotate(b, 16)) | 0
  a = ((a ^ c) - rotate(c, 4)) | 0
  b = ((b ^ a) - rotate(a, 14)) | 0
  c = ((c ^ b) - rotate(b, 24)) | 0
  return c >>> 0
}

function swapped(word: number): number {
  return ((word >>> 24) & 0xff) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff_0000) | ((word << 24) & 0xff00_0000)
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by))
}
