/**
 * What the data plane is measured against: the same way made by hand with ip, bridge and nft, between two machines without an agent. README.md has it in words.
 *
 * `bare` is the least that leads a port to a backend on another machine: a point-to-point VXLAN, one DNAT rule, a bridge at the far end. `sameJob` does
 * what our table does for such a port: replies find the entry node that they came by, whichever it is, and tasks are kept apart.
 */
import type { Machine } from '../../e2e/machines.ts'

export interface Pair {
  readonly entry: Machine
  readonly far: Machine
}

/** Where the entry machine of either answers, and where its backend is. */
export const port = 8000
export const backend = '10.99.0.2'
/** Words before a command on the far machine that run it beside the backend. */
export const atBackend = 'nsenter --net=/run/netns/backend --'
/** What is left of 1,500 bytes in a VXLAN over IPv4; ours has the same. */
const mtu = 1450

/** Routes, and no packet that a bridge carries goes through the firewall on top, which a loaded br_netfilter has on in every network namespace. */
const forwards = 'echo 1 > /proc/sys/net/ipv4/ip_forward; sysctl -qe net.bridge.bridge-nf-call-iptables=0'

export async function bare({ entry, far }: Pair): Promise<void> {
  await entry.ok(`set -e
    ${forwards}
    ip link add vx0 mtu ${mtu} type vxlan id 42 local ${entry.address} remote ${far.address} dstport 4789
    ip address add 10.99.0.1/24 dev vx0
    ip link set vx0 up
    nft -f - <<'END'
${bareTable(entry.address)}
END`)
  await far.ok(`set -e
    ${forwards}
    ip link add vx0 mtu ${mtu} type vxlan id 42 local ${far.address} remote ${entry.address} dstport 4789
    ip link add br0 mtu ${mtu} type bridge
    ip link set vx0 master br0 up
    ip netns add backend
    ip link add be0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns backend
    ip link set be0 master br0 up
    ip link set br0 up
    ip -n backend link set lo up
    ip -n backend link set eth0 up
    ip -n backend address add ${backend}/24 dev eth0
    ip -n backend route add default via 10.99.0.1`)
}

const bareTable = (entry: string) => `table ip hand {
  chain redirection {
    type nat hook prerouting priority dstnat
    ip daddr ${entry} tcp dport ${port} dnat to ${backend}:80
  }
}`

/** The least that a hand can write on a machine of ours: what is behind the rule is all ours. */
export async function ruleTo(task: string, at: { readonly entry: Machine; readonly port: number }): Promise<void> {
  await at.entry.ok(`nft -f - <<'END'
table ip hand {
  chain redirection {
    type nat hook prerouting priority dstnat - 1
    ip daddr ${at.entry.address} tcp dport ${at.port} dnat to ${task}:80
  }
}
END`)
}

const entryMac = '02:00:00:00:00:01'
const farMac = '02:00:00:00:00:02'
const backendMac = '02:00:00:00:00:03'

export async function sameJob({ entry, far }: Pair): Promise<void> {
  const node = (self: Machine, other: Machine, mac: string, otherMac: string) => `set -e
    ${forwards}
    ip link add br0 address ${mac} mtu ${mtu} type bridge
    ip link add vx0 mtu ${mtu} type vxlan id 42 local ${self.address} dstport 4789 nolearning
    ip link set vx0 master br0 up
    ip link set br0 up
    bridge fdb add ${otherMac} dev vx0 dst ${other.address} self permanent
    bridge fdb replace ${otherMac} dev vx0 master static
    ip address add 10.99.0.1/32 dev br0
    ip route add 10.99.0.0/24 dev br0
    nft -f - <<'END'
${sameJobTable(entry.address)}
END`
  await entry.ok(`${node(entry, far, entryMac, farMac)}
    ip neighbour add ${backend} lladdr ${farMac} dev br0 nud permanent`)
  await far.ok(`${node(far, entry, farMac, entryMac)}
    ip neighbour add ${backend} lladdr ${backendMac} dev br0 nud permanent
    ip neighbour add 169.254.128.1 lladdr ${entryMac} dev br0 nud permanent
    ip route add default via 169.254.128.1 dev br0 onlink table 100
    ip rule add iif br0 fwmark 1 lookup 100
    ip netns add backend
    ip link add be0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} address ${backendMac} netns backend
    ip link set be0 master br0 up
    ip -n backend link set lo up
    ip -n backend link set eth0 up
    ip -n backend address add ${backend}/32 dev eth0
    ip -n backend neighbour add 10.99.0.1 lladdr ${farMac} dev eth0 nud permanent
    ip -n backend route add default via 10.99.0.1 dev eth0 onlink`)
}

const sameJobTable = (entry: string) => `table inet hand {
  chain zoning {
    type filter hook prerouting priority raw
    iifname "br0" ct original zone set ether saddr map { ${entryMac} : 1 }
  }
  chain entry {
    type filter hook prerouting priority mangle
    iifname "br0" ct state new ct mark set ether saddr map { ${entryMac} : 1 }
    iifname "br0" ct direction reply meta mark set ct mark
  }
  chain redirection {
    type nat hook prerouting priority dstnat
    ip daddr ${entry} tcp dport ${port} dnat ip to ${backend}:80
  }
  chain forward {
    type filter hook forward priority filter
    ct state established,related accept
    iifname "br0" oifname "br0" ct mark != 1 drop
  }
}`

/** A VXLAN between two machines and a namespace at either end, all in one subnet: nothing routes, nothing filters. The far end is `backend`. */
export async function link({ entry, far }: Pair): Promise<void> {
  for (const [self, other, address] of [
    [entry, far, '10.99.0.1'],
    [far, entry, backend],
  ] as const) {
    await self.ok(`set -e
      ${forwards}
      ip link add vx0 mtu ${mtu} type vxlan id 42 local ${self.address} remote ${other.address} dstport 4789
      ip link add br0 mtu ${mtu} type bridge
      ip link set vx0 master br0 up
      ip netns add backend
      ip link add be0 mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns backend
      ip link set be0 master br0 up
      ip link set br0 up
      ip -n backend link set lo up
      ip -n backend link set eth0 up
      ip -n backend address add ${address}/24 dev eth0`)
  }
}
