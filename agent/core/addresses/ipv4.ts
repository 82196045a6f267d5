/** IPv4 subnets as integers: parsing, counting and testing. Text in, text out; addresses inside are unsigned 32-bit numbers. */

export interface Subnet {
  /** The network address. */
  readonly base: number
  /** Prefix length, 0..32. */
  readonly bits: number
  /** Addresses in it, with network and broadcast address. */
  readonly size: number
}

/** A subnet in CIDR form, whatever host bits are set; undefined when it is not one. */
export function parseSubnet(text: string): Subnet | undefined {
  const [address = '', length, ...rest] = text.split('/')
  const number = parseAddress(address)
  if (number === undefined || rest.length > 0 || !/^\d{1,2}$/.test(length ?? '')) return undefined
  const bits = Number(length)
  if (bits > 32) return undefined
  const size = 2 ** (32 - bits)
  return { base: number - (number % size), bits, size }
}

export function parseAddress(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  let number = 0
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined
    number = number * 256 + Number(part)
  }
  return number
}

export function formatAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.')
}

export function formatSubnet(subnet: Subnet): string {
  return `${formatAddress(subnet.base)}/${subnet.bits}`
}

/** Whether a text is an address as every program takes it: without leading zeros. Records of other nodes may hold any text. */
export function isAddress(text: string): boolean {
  const number = parseAddress(text)
  return number !== undefined && formatAddress(number) === text
}

/** The same for a subnet: without host bits. */
export function isSubnet(text: string): boolean {
  const subnet = parseSubnet(text)
  return subnet !== undefined && formatSubnet(subnet) === text
}

export function overlap(a: Subnet, b: Subnet): boolean {
  return a.base < b.base + b.size && b.base < a.base + a.size
}

export function contains(subnet: Subnet, address: number): boolean {
  return address >= subnet.base && address < subnet.base + subnet.size
}
