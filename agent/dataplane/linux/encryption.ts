/**
 * Keeps WireGuard on this node: one device of the kernel, or of wireguard-go where the kernel has none, with a peer for each other linux node.
 *
 * The device outlives the agent as tasks do: a restarted agent finds it by its name and takes it over. Its end, however it comes, is noticed within a
 * second, and it is made again; meanwhile a route that leads nowhere keeps what is sent from leaving in clear. Ours is what has our name (names.ts).
 * The secret goes to wg(8) by standard input and into no word, log or sentence.
 */
import { createSocket } from 'node:dgram'
import { existsSync } from 'node:fs'
import type { NodeId } from '../../../protocol/ids.ts'
import type { OverlayNode } from '../../core/routes/overlay.ts'
import { fault, reasonOf } from '../../fault.ts'
import type { Cancel, Clock, Log } from '../../world.ts'
import { takenPorts } from '../holders.ts'
import { linkGroup, wireguardName } from './names.ts'
import { batchAll, batchUntilRefused, run, writeSetting } from './tools.ts'
import {
  barredLine,
  deviceLines,
  deviceMtu,
  deviceText,
  type Peers,
  peerChanges,
  peersOf,
  readPeers,
  unbarredLine,
} from './wireguard.ts'
import { lackForEncryption } from './wireguard-probe.ts'

export interface Encryption {
  /** Makes device and peers so. Resolves to why that cannot be, as half a sentence, or undefined: what is sent to an inner address is encrypted. */
  ensure(nodes: readonly OverlayNode[], pathMtu: number): Promise<string | undefined>
  /** What this machine lacks for it now, as half a sentence. */
  lack(): Promise<string | undefined>
  /** Removes the device and the route; of none, nothing happens. */
  remove(): Promise<void>
  /** Ends the watch. The device stays, and encrypts while the agent restarts. */
  close(): void
}

export interface EncryptionOptions {
  readonly self: NodeId
  readonly mark: string
  /** This node's address for the others. */
  readonly underlay: string
  readonly port: number
  /** In base64. */
  readonly key: string
  readonly secret: string
  readonly clock: Clock
  readonly log: Log
}

/** 1 s: a file is looked for. A peer's own timers notice a lost session after 15 s. */
const lookMs = 1_000
/** 1 s: wireguard-go ends within milliseconds of its device. */
const endMs = 1_000
const endLookMs = 10
/** 500: what one command line holds with room. */
const keysInCommand = 500

interface Wanted {
  readonly peers: Peers
  readonly mtu: number
}

export function createEncryption(options: EncryptionOptions): Encryption {
  const { self, mark, underlay, port, key, secret, clock, log } = options
  const device = wireguardName(mark)
  const group = linkGroup(mark)
  let wanted: Wanted | undefined
  /** What the device has; undefined: not known, or there is none. */
  let held: Wanted | undefined
  /** Nothing of ours is in the kernel. */
  let isClear = false
  let lastTrouble: string | undefined
  let cancelLook: Cancel = () => {}
  let isClosed = false
  let tail: Promise<unknown> = Promise.resolve()

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = tail.then(work)
    tail = done.catch(() => {})
    return done
  }

  async function makeSo(want: Wanted): Promise<string | undefined> {
    isClear = false
    try {
      if (held === undefined || held.mtu !== want.mtu || !isThere()) held = await begin(want)
      await change(held.peers, want.peers)
      held = want
      lastTrouble = undefined
      return undefined
    } catch (error) {
      held = undefined
      const reason = reasonOf(error).replaceAll(secret, '…')
      if (reason !== lastTrouble) log.warn('encrypted networks cannot be on this node', { reason })
      lastTrouble = reason
      return reason
    }
  }

  /** Takes over the device that is there, or makes one. */
  async function begin(want: Wanted): Promise<Wanted> {
    await inKernel([barredLine])
    const isOurs = isThere() && (await hasOurKey())
    if (!isOurs) await add()
    // Also where IPv6 is off for this machine's own addresses.
    writeSetting(`ipv6/conf/${device}/disable_ipv6`, '0')
    await inKernel(deviceLines({ device, self, group, mtu: want.mtu }))
    if (isOurs) return { peers: await show(), mtu: want.mtu }
    // After it is up: only then a port that is taken is refused here.
    await run('sh', ['-c', 'cat | wg setconf "$0" /dev/stdin', device], deviceText({ secret, port }, want.peers))
    greet(want.peers)
    return want
  }

  async function hasOurKey(): Promise<boolean> {
    const asked = [run('wg', ['show', device, 'public-key']), run('wg', ['show', device, 'listen-port'])]
    const [publicKey = '', listenPort = ''] = await Promise.all(asked).catch(() => [])
    return publicKey.trim() === key && listenPort.trim() === String(port)
  }

  async function show(): Promise<Peers> {
    const asked = [run('wg', ['show', device, 'allowed-ips']), run('wg', ['show', device, 'endpoints'])]
    const [allowed = '', endpoints = ''] = await Promise.all(asked)
    return readPeers(allowed, endpoints)
  }

  async function add(): Promise<void> {
    if (isThere()) await drop()
    const lack = await lackForEncryption(port)
    if (lack !== undefined) throw fault('unavailable', lack)
    const refusal = await batchUntilRefused('ip', [`link add name ${device} group ${group} type wireguard`])
    if (refusal === undefined) return
    // It goes on by itself, in a session of its own, and ends with its device.
    await run('sh', ['-c', 'cd / && exec setsid wireguard-go "$0"', device]).catch((error: unknown) => {
      // Without the hour, so that the same trouble is told once.
      throw fault('unavailable', reasonOf(error).replace(/ERROR: \(\S+\) [\d/]+ [\d:]+ /, ''))
    })
    // It sets the size of packets to its own taste before it answers, and not after.
    await run('wg', ['show', device, 'listen-port'])
  }

  /** With what belongs to it: wireguard-go lets go of the port when it has seen that its device is gone. */
  async function drop(): Promise<void> {
    await batchAll('ip', [`link delete dev ${device}`])
    const untilMs = clock.now() + endMs
    while (takenPorts('udp').has(port) && clock.now() < untilMs)
      await new Promise<void>((resolve) => void clock.after(endLookMs, resolve))
  }

  async function change(have: Peers, want: Peers): Promise<void> {
    const { coming, going } = peerChanges(have, want)
    for (let from = 0; from < going.length; from += keysInCommand) {
      const words = going.slice(from, from + keysInCommand).flatMap((gone) => ['peer', gone, 'remove'])
      await run('wg', ['set', device, ...words])
    }
    if (coming !== '') await run('sh', ['-c', 'cat | wg addconf "$0" /dev/stdin', device], coming)
  }

  /** A datagram to each, which nobody reads: peers that knew the device before agree on new keys now, and not when their timers run out. */
  function greet(peers: Peers): void {
    const socket = createSocket('udp6')
    socket.on('error', () => {})
    const sent = [...peers.values()].map(
      ({ inner }) => new Promise<void>((resolve) => socket.send('', discardPort, inner, () => resolve())),
    )
    void Promise.all(sent).then(() => socket.close())
  }

  function isThere(): boolean {
    // Of this network namespace, whichever /sys is mounted.
    return existsSync(`/proc/sys/net/ipv6/conf/${device}`)
  }

  function lookAgain(): void {
    cancelLook()
    if (isClosed) return
    cancelLook = clock.after(lookMs, () => void inTurn(look).then(lookAgain))
  }

  async function look(): Promise<void> {
    if (wanted === undefined || isClosed) return
    if (held !== undefined && isThere()) return
    const wasThere = held !== undefined
    if ((await makeSo(wanted)) === undefined && wasThere)
      log.warn('the device of encrypted networks was gone, and is there again', { device })
  }
  lookAgain()

  return {
    ensure: (nodes, pathMtu) =>
      inTurn(async () => {
        wanted = { peers: peersOf(nodes, { self, key }), mtu: deviceMtu(pathMtu, underlay) }
        return await makeSo(wanted)
      }),
    lack: () => inTurn(() => lackForEncryption(isThere() ? undefined : port)),
    remove: () =>
      inTurn(async () => {
        wanted = undefined
        held = undefined
        if (isClear) return
        if (isThere()) await drop()
        // It is refused where there is none.
        await batchAll('ip', [unbarredLine])
        isClear = true
      }),
    close() {
      isClosed = true
      cancelLook()
    },
  }
}

/** Thrown away by whoever gets it (RFC 863). */
const discardPort = 9

async function inKernel(lines: readonly string[]): Promise<void> {
  const refusal = await batchUntilRefused('ip', lines)
  if (refusal !== undefined) throw fault('unavailable', `the kernel refused "${refusal.line}": ${refusal.why}`)
}
