/**
 * Says what this machine lacks for the linux data plane, as the second half of a sentence, or nothing. Tries things in a network namespace that ends with
 * the trial, since kernels and containers forbid one part or another and only trying tells; takes some 20 ms. Changes nothing.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { reasonOf } from '../../fault.ts'
import { holderOf } from '../holders.ts'
import { run, type Tool, toolFolders } from './tools.ts'

export async function missingForLinux(options: { readonly vxlanPort: number }): Promise<string | undefined> {
  if (!mayDo(NET_ADMIN) || !mayDo(SYS_ADMIN)) return 'the agent must run as root (CAP_NET_ADMIN and CAP_SYS_ADMIN)'
  const lacking = tools.find(([tool]) => !isInstalled(tool))
  if (lacking !== undefined) return `the program ${lacking[0]} is missing; install ${lacking[1]}`
  // On any address. The kernel's own socket, for tunnels that exist, is no program's and serves more of them.
  const holder = holderOf('udp', '::', options.vxlanPort)
  if (holder !== undefined) {
    const { program, pid } = holder
    return `UDP port ${options.vxlanPort}, which VXLAN needs, is taken by another program (${program}, pid ${pid}); another is to be had with --data-path-port`
  }
  if (!mayWriteSettings()) return 'the agent may not write to /proc/sys/net; give its container --privileged'
  for (const { line, lack } of trials) {
    try {
      await run('unshare', ['--net', '--', 'sh', '-c', line])
    } catch (error) {
      return `${lack} (${reasonOf(error)})`
    }
  }
  return undefined
}

/** With the Debian package that has it. */
const tools: readonly (readonly [Tool, string])[] = [
  ['ip', 'iproute2'],
  ['bridge', 'iproute2'],
  ['nft', 'nftables'],
  ['conntrack', 'conntrack'],
  ['nsenter', 'util-linux'],
  ['unshare', 'util-linux'],
]

const trials = [
  { line: 'ip link add name trial type bridge', lack: 'the kernel makes no bridges' },
  { line: 'ip link add name trial type veth peer name other', lack: 'the kernel makes no veth devices' },
  { line: 'ip link add name trial type vxlan id 1 dstport 4789 local 127.0.0.1', lack: 'the kernel has no VXLAN' },
  {
    line: `nft 'add table inet trial; add chain inet trial c { type nat hook prerouting priority dstnat; }
      add rule inet trial c ip daddr 192.0.2.1 ct mark set 1 dnat ip to numgen random mod 2 map { 0: 192.0.2.2, 1: 192.0.2.3 }'`,
    lack: 'the kernel or nft lacks address translation',
  },
  { line: 'ip rule add fwmark 1/1 lookup 9', lack: 'the kernel has no policy routing' },
]

const NET_ADMIN = 12
const SYS_ADMIN = 21

/** Of capabilities(7), by number: those in effect. Root in a container often has few. */
function mayDo(capability: number): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return ((BigInt(`0x${effective}`) >> BigInt(capability)) & 1n) === 1n
}

export function isInstalled(tool: Tool): boolean {
  return toolFolders.some((folder) => {
    try {
      accessSync(`${folder}/${tool}`, constants.X_OK)
      return true
    } catch {
      // Not in this folder.
      return false
    }
  })
}

function mayWriteSettings(): boolean {
  try {
    accessSync('/proc/sys/net/ipv4/ip_forward', constants.W_OK)
    return true
  } catch {
    // A file system that is read-only, as in containers: the settings of our bridges could not be written either.
    return false
  }
}
