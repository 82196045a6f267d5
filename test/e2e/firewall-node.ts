/**
 * A node's devices and firewall without its agent, for linux-firewall.long.test.ts and the bench: makes so what it is asked, as JSON over the socket of an agent.
 *
 *   POST /apply {routes, local}     answers the counters of the firewall
 *   POST /remember {routes, local}  for the next
 *   POST /alternate {times}         applies what is remembered, in turns: an observer sees no reading of JSON in it
 */
import { mkdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { areBridgesFiltered } from '../../agent/dataplane/linux/bridge-filter.ts'
import { createDevices, type TaskLinks } from '../../agent/dataplane/linux/devices.ts'
import { createFirewall, type FirewallInput } from '../../agent/dataplane/linux/firewall.ts'
import { wireguardName } from '../../agent/dataplane/linux/names.ts'
import { reasonOf } from '../../agent/fault.ts'
import { createClock } from '../../agent/real.ts'
import type { Log } from '../../agent/world.ts'
import { encryptionOf } from './encryption-of.ts'

const [self = '', underlay = '', underlay6 = ''] = process.argv.slice(2)
const log: Log = { debug() {}, info() {}, warn: tell, error: tell }
const clock = createClock()
const encryption = encryptionOf({ self, underlay, mark: '0badcafe', clock, log })
const own = { vxlanPort: 4789, filtered: areBridgesFiltered, mark: '0badcafe', encryption }
const devices = await createDevices({ self, underlay, ...own, onMade: () => {}, clock, log })
const firewall = await createFirewall({ clock, log, onRestored: () => process.stdout.write('restored\n') })
const remembered: Wanted[] = []
const encrypted = { device: wireguardName('0badcafe'), vxlanPort: 4789 }
const attached = new Map<string, TaskLinks>()

const server = createServer(async (request, response) => {
  try {
    response.end(JSON.stringify(await answer(request.url ?? '', JSON.parse(await text(request)))))
  } catch (error) {
    response.statusCode = 500
    response.end(JSON.stringify({ message: reasonOf(error) }))
  }
})
mkdirSync('/run/grapevine', { recursive: true })
server.listen('/run/grapevine/vine.sock', () => process.stdout.write('up\n'))

type Wanted = Pick<FirewallInput, 'routes' | 'local'>

async function answer(path: string, body: Wanted & { readonly times: number }): Promise<unknown> {
  if (path === '/apply') return await apply(body)
  if (path === '/remember') return { remembered: remembered.push(body) }
  for (let time = 0; time < body.times; time++) await apply(remembered[time % remembered.length]!)
  return firewall.counters()
}

async function apply({ routes, local }: Wanted) {
  const { overlay } = routes
  if (overlay === undefined) throw new Error('a linux node has an overlay')
  await devices.apply(overlay, local)
  for (const links of local) {
    if (attached.has(links.task)) continue
    await devices.createTask(links, overlay)
    attached.set(links.task, links)
  }
  await firewall.apply({ self, underlay, addresses: [underlay, underlay6], encrypted, routes, local })
  await firewall.routeReplies()
  return firewall.counters()
}

function tell(message: string, fields?: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`${self}: ${message} ${JSON.stringify(fields ?? {})}\n`)
}
