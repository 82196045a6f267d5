/**
 * A node's devices and firewall without its agent, for linux-firewall.test.ts: makes so what it is asked, as JSON over the socket of an agent.
 *
 *   POST /apply {routes, local}   answers the CPU time that the firewall took for it
 */
import { mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { areBridgesFiltered } from '../../agent/dataplane/linux/bridge-filter.ts'
import { createDevices, type TaskLinks } from '../../agent/dataplane/linux/devices.ts'
import { createFirewall, type FirewallInput } from '../../agent/dataplane/linux/firewall.ts'
import { reasonOf } from '../../agent/fault.ts'
import { createClock } from '../../agent/real.ts'
import type { Log } from '../../agent/world.ts'

const [self = '', underlay = '', underlay6 = ''] = process.argv.slice(2)
const log: Log = { debug() {}, info() {}, warn: tell, error: tell }
const clock = createClock()
const own = { vxlanPort: 4789, filtered: areBridgesFiltered, mark: '0badcafe' }
const devices = await createDevices({ self, underlay, ...own, clock, log })
const firewall = await createFirewall({ clock, log, onRestored: () => process.stdout.write('restored\n') })
const attached = new Map<string, TaskLinks>()

const server = createServer(async (request, response) => {
  try {
    response.end(JSON.stringify(await apply(JSON.parse(await text(request)))))
  } catch (error) {
    response.statusCode = 500
    response.end(JSON.stringify({ message: reasonOf(error) }))
  }
})
mkdirSync('/run/grapevine', { recursive: true })
server.listen('/run/grapevine/vine.sock', () => process.stdout.write('up\n'))

async function apply({ routes, local }: Pick<FirewallInput, 'routes' | 'local'>) {
  const { overlay } = routes
  if (overlay === undefined) throw new Error('a linux node has an overlay')
  await devices.apply(overlay, local)
  for (const links of local) {
    if (attached.has(links.task)) continue
    await devices.createTask(links, overlay)
    attached.set(links.task, links)
  }
  const before = process.cpuUsage()
  await firewall.apply({ self, underlay, addresses: [underlay, underlay6], routes, local })
  const { user, system } = process.cpuUsage(before)
  return { cpuMs: (user + system) / 1000, ...firewall.counters() }
}

function tell(message: string, fields?: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${self}: ${message} ${JSON.stringify(fields ?? {})}\n`)
}
