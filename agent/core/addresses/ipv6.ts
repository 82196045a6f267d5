/**
 * IPv6 addresses and subnets: parsing, testing, and the one way of writing each (RFC 4291, RFC 5952). Text in, text out; addresses inside are
 * unsigned 128-bit numbers. Addresses with an IPv4 one at their end, or a zone, are none to us: nobody's networks here have such.
 */

export interface Subnet6 {
  /** The first address. */
  readonly base: bigint
  /** Prefix length, 0..128. */
  readonly bits: number
}

/** Undefined when it is not one. */
export function parseAddress6(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head = [], tail = []] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const groups = [...head, ...tail]
  // A double colon stands for one group of zeros at least.
  if (halves.length === 2 ? groups.length > 7 : groups.length !== 8) return undefined
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  const zeros = Array<string>(8 - groups.length).fill('0')
  return BigInt(`0x${[...head, ...zeros, ...tail].map((group) => group.padStart(4, '0')).join('')}`)
}

/** In lower case, without leading zeros, the longest run of zero groups as a double colon (RFC 5952, section 4). */
export function formatAddress6(address: bigint): string {
  const groups = address.toString(16).padStart(32, '0').match(/..../g)!
  const text = groups.map((group) => group.replace(/^0{1,3}/, '')).join(':')
  const runs = text.match(/\b0(:0)+\b/g) ?? []
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '')
  if (longest === '') return text
  const at = text.search(new RegExp(`(^|:)${longest}(:|$)`))
  const from = text[at] === ':' ? at + 1 : at
  return `${text.slice(0, from).replace(/:$/, '')}::${text.slice(from + longest.length).replace(/^:/, '')}`
}

/** A subnet in CIDR form, whatever host bits are set; undefined when it is not one. */
export function parseSubnet6(text: string): Subnet6 | undefined {
  const [words = '', length = '', ...rest] = text.split('/')
  const address = parseAddress6(words)
  if (address === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length) || Number(length) > 128) return undefined
  const bits = Number(length)
  return { base: (address >> hostBits(bits)) << hostBits(bits), bits }
}

export function formatSubnet6({ base, bits }: Subnet6): string {
  return `${formatAddress6(base)}/${bits}`
}

/** Whether a text is an address as every program takes it and writes it. Records of other nodes may hold any text. */
export function isAddress6(text: string): boolean {
  const address = parseAddress6(text)
  return address !== undefined && formatAddress6(address) === text
}

/** The same for a subnet: without host bits. */
export function isSubnet6(text: string): boolean {
  const subnet = parseSubnet6(text)
  return subnet !== undefined && formatSubnet6(subnet) === text
}

export function overlap6(a: Subnet6, b: Subnet6): boolean {
  const shorter = hostBits(Math.min(a.bits, b.bits))
  return a.base >> shorter === b.base >> shorter
}

export function contains6(subnet: Subnet6, address: bigint): boolean {
  return overlap6(subnet, { base: address, bits: 128 })
}

/** Addresses that a machine on the internet or on a private network may have: global unicast and unique local ones (IANA's registry; RFC 4193). */
export function isUnicast(subnet: Subnet6): boolean {
  return [globalUnicast, uniqueLocal].some((whole) => subnet.bits >= whole.bits && overlap6(whole, subnet))
}

const globalUnicast: Subnet6 = { base: 0x2000n << 112n, bits: 3 }
const uniqueLocal: Subnet6 = { base: 0xfc00n << 112n, bits: 7 }

function hostBits(bits: number): bigint {
  return BigInt(128 - bits)
}
