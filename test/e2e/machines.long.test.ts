/** Agents as people start them: `vine agent` with hardly a flag, on machines of their own, joined by address. And what happens to machines. */
import { expect, test } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { type RunningTask, runs, webProgram } from './clients.ts'
import { see } from './cluster.ts'
import { createLan, joinLine, type Machine, outsideAddress, startCluster } from './machines.ts'

test('agents without flags found a cluster, and join by the printed command, by host:port and by name', async () => {
  const lan = await createLan()
  const [n1, n2, n3, n4] = await Promise.all([lan.add(), lan.add(), lan.add(), lan.add()])
  await n1.start()
  const pasted = await joinLine(n1)
  const token = await n1.ok('vine token --quiet')
  await n2.start(pasted)
  await n3.start(`vine agent --join ${n2.address}:7766 --token ${token}`)
  await n4.start(`vine agent --join /dns4/n3/tcp/7766 --token ${token}`)
  await see([n1, n2, n3, n4], [n1, n2, n3, n4])
  expect(await n1.ok('vine doctor')).not.toMatch(/^(?!.*: ok)/m)
  // A firewall that lets members meet, and no connection to a task through.
  await n3.ok(
    `nft add table inet fire && nft add chain inet fire in '{ type filter hook input priority 0; }' &&
     nft add rule inet fire in tcp dport 7767 drop`,
  )
  expect(await n2.run('vine doctor')).toMatchObject({
    code: 1,
    out: expect.stringMatching(/n3 at 10\.77\.0\.3:7767\n +Open TCP port 7767 on n3/),
  })
  const silent = 'Node n3 takes no connections for tasks and logs at 10.77.0.3:7767: open TCP port 7767 there.'
  await until(async () => (await n4.run('vine status')).out.includes(silent), {
    deadlineMs: 10_000,
    what: 'status to tell',
  })
  await n3.ok('nft delete table inet fire')
  await until(async () => (await n4.run('vine status')).code === 0, { deadlineMs: 10_000, what: 'all to be well' })
  // A second one on the same machine, with the same defaults and with some of its own.
  const second = await n4.run('vine agent')
  expect(second).toMatchObject({ code: 1, err: expect.stringContaining('Another agent works in the data directory') })
  const third = await n4.run('vine agent --data-dir /var/lib/other')
  expect(third).toMatchObject({ code: 1, err: expect.stringMatching(/Cannot listen on 0\.0\.0\.0:776[67]/) })
})

test('a published port answers at every address of every machine, by TCP and UDP, and tells the task who asks', async () => {
  needs('curl')
  const lan = await createLan()
  const machines = await Promise.all([lan.add(), lan.add(), lan.add()])
  await startCluster(machines)
  const [n1, n2, n3] = machines
  await Promise.all([
    create(n1, 'web --replicas 1 --constraint node.hostname==n3 --publish 8080:80', webProgram),
    create(n1, 'udp --replicas 1 --constraint node.hostname==n3 --publish 5300:53/udp', echoDatagrams),
    create(n1, `who --replicas 1 --constraint node.hostname==n2 ${tellClient} --publish 81:81`, whoAsks),
  ])
  for (const host of ['n1', 'n2', 'n3', '127.0.0.1']) {
    await until(async () => (await n2.ok(`curl -sS -m 2 http://${host}:8080/`)).startsWith('n3 '), {
      deadlineMs: 5_000,
      what: `port 8080 of ${host}`,
    })
    await until(async () => (await n1.ok(`node -e '${sayDatagram}' ${host}`)) === 'hello', {
      deadlineMs: 5_000,
      what: `datagrams to ${host} to be answered`,
    })
  }
  for (const { address } of machines) {
    const asked = async () => (await lan.outside(`curl -sS -m 2 --http0.9 http://${address}:81/`)).out
    await until(async () => (await asked()) === `${outsideAddress} to ${address}`, {
      deadlineMs: 5_000,
      what: `port 81 of ${address} to tell who asks`,
    })
  }
  expect(await n3.ok('curl -sS -m 2 --http0.9 http://n1:81/')).toBe(`${n3.address} to ${n1.address}`)
})

test('tasks reach each other by name across machines: by their hosts file, by their resolver, and by the tools people use', async () => {
  const [dig, busybox] = [needs('dig'), needs('busybox')]
  const lan = await createLan()
  const machines = await Promise.all([lan.add(), lan.add(), lan.add()])
  await startCluster(machines)
  const [n1] = machines
  await n1.ok('vine network create back')
  await create(
    n1,
    'api --replicas 2 --network back --constraint node.hostname!=n1 --publish mode=host,target=80',
    webProgram,
  )
  const asks = `sh -c '
    getent hosts api; getent ahostsv4 n2; echo --
    ${busybox} nslookup -type=a api \${GRAPEVINE_DNS%:*} | tail -n +4; echo --
    node -e "$ASK"; echo --
    ${dig} +short @\${GRAPEVINE_DNS%:*} -p \${GRAPEVINE_DNS##*:} tasks.api; echo --; echo; exec sleep 1000'`
  await n1.ok(
    `vine service create --detach --quiet --name ask --network back --constraint node.hostname==n1 --env 'ASK=${askByResolver}' ${asks}`,
  )
  const [hosts, nslookup, fetched, tasks] = await until(
    async () => {
      const said = (await n1.ok('vine service logs --raw ask')).split(/\n--\n?/)
      return said.length > 3 ? said : Promise.reject(new Error(said.join('--')))
    },
    { deadlineMs: 10_000, everyMs: 200, what: 'the task to have asked' },
  )
  // A loopback address of the task's own node in user space, the network-wide one where the kernel forwards.
  const address = process.env.GRAPEVINE_DATAPLANE === 'linux' ? '10(\\.\\d+){3}' : '127(\\.\\d+){3}'
  expect(hosts).toMatch(new RegExp(`^${address} +api\\n10\\.77\\.0\\.2 `))
  expect(tasks).toMatch(new RegExp(`^${address}\\n${address}`))
  expect(nslookup).toMatch(new RegExp(`Name:\\s+api\\nAddress: ${address}`))
  expect(fetched).toBe('53 n2 n3')
})

test('a cable is pulled for 10 s: clients of the others notice nothing, the tasks run elsewhere, and once each again when it is back', async () => {
  const lan = await createLan()
  const machines = await Promise.all([lan.add(), lan.add(), lan.add(), lan.add()])
  await startCluster(machines)
  const [n1, n2, n3, n4] = machines
  await create(n1, 'web --replicas 4 --publish 8080:80', webProgram)
  await runs(machines, 'web', 4)
  const others = [n1, n2, n3]
  const clients = others.map(keepAsking)
  await until(() => clients.every(({ answers }) => answers.some(({ node }) => node === 'n4')), {
    deadlineMs: 5_000,
    what: 'every client to have met n4',
  })
  await n4.pull()
  const pulledMs = Date.now()
  // The preset lan: silent for 1 to 2 s is suspect, for 3 s more dead.
  const moved = await runsWithout(n4, others, 4)
  await until(() => Date.now() - pulledMs > 10_000, { deadlineMs: 11_000, what: '10 s to pass' })
  for (const { answers, failuresSince } of clients) {
    expect(failuresSince(pulledMs)).toEqual([])
    const after = answers.filter(({ atMs }) => atMs > pulledMs)
    expect(after.some(({ node }) => node === 'n4')).toBe(false)
    // Once suspect it is avoided: nobody waits for it any more.
    expect(after.filter(({ atMs, ms }) => atMs > pulledMs + 2_500 && ms > 250).length).toBeLessThanOrEqual(2)
  }
  await n4.plug()
  await see(machines, machines, 15_000)
  const healed = await runs(machines, 'web', 4)
  expect(healed.filter(({ id }) => moved.some((task) => task.id === id)).length).toBeGreaterThanOrEqual(3)
  await until(async () => (await processesEverywhere(machines)) === 4, {
    deadlineMs: 12_000,
    everyMs: 100,
    what: 'no task more than was asked for',
  })
  for (const { failuresSince } of clients) expect(failuresSince(pulledMs)).toEqual([])
})

test('one machine hears another no more, while all the rest do: nothing moves, and requests go on', async () => {
  const lan = await createLan()
  const machines = await Promise.all([lan.add(), lan.add(), lan.add()])
  await startCluster(machines)
  const [n1, , n3] = machines
  await create(n1, 'web --replicas 3 --publish 8080:80', webProgram)
  const before = await runs(machines, 'web', 3)
  const clients = machines.map(keepAsking)
  await n1.ignore(n3)
  const sinceMs = Date.now()
  // Longer than suspicion lasts from silence to death.
  await until(() => Date.now() - sinceMs > 7_000, { deadlineMs: 8_000, what: '7 s to pass' })
  await see(machines, machines, 5_000)
  expect((await runs(machines, 'web', 3)).map(({ id }) => id)).toEqual(before.map(({ id }) => id))
  for (const { said } of machines) expect(said()).not.toMatch(/ dead: /)
  await n1.hear()
  for (const { failuresSince, answers } of clients) {
    expect(failuresSince(sinceMs)).toEqual([])
    expect(answers.length).toBeGreaterThan(60)
  }
})

test('power fails on a machine: its tasks run elsewhere, and it comes back with its disk, without a token', async () => {
  const lan = await createLan()
  const machines = await Promise.all([lan.add(), lan.add(), lan.add()])
  await startCluster(machines)
  const [n1, n2, n3] = machines
  await create(n1, 'web --replicas 3 --publish 8080:80', webProgram)
  await runs(machines, 'web', 3)
  const clients = [keepAsking(n1), keepAsking(n2)]
  await n3.powerOff()
  const offMs = Date.now()
  const moved = await runsWithout(n3, [n1, n2], 3)
  await n3.powerOn()
  await n3.start()
  await see(machines, machines)
  expect((await runs(machines, 'web', 3)).map(({ id }) => id)).toEqual(moved.map(({ id }) => id))
  for (const { failuresSince } of clients) expect(failuresSince(offMs)).toEqual([])
})

test('bridges are never told, a second network is no obstacle, and no default route is needed', async () => {
  needs('curl')
  const lan = await createLan()
  const bridge = (name: string, net: string) =>
    `ip link add name ${name} type bridge && ip address add ${net}.1/24 dev ${name} && ip link set ${name} up`
  const [n1, n2, n3, n4] = await Promise.all([
    lan.add({ setUp: `${bridge('docker0', '172.17.0')} && ${bridge('aaa', '10.9.9')}` }),
    lan.add({ second: true }),
    lan.add({ defaultRoute: false }),
    lan.add({ second: true, defaultRoute: false }),
  ])
  const machines = [n1, n2, n3, n4]
  await startCluster(machines)
  expect(n1.said()).toContain('Members reach it at /ip4/10.77.0.1/tcp/7766\n')
  expect(n1.said()).toContain('Published ports answer on 10.77.0.1, 127.0.0.1\n')
  expect(n2.said()).toContain('Members reach it at /ip4/10.77.0.2/tcp/7766, /ip4/10.78.0.2/tcp/7766\n')
  expect(n3.said()).toContain('Published ports answer on 10.77.0.3, 127.0.0.1\n')
  // Nothing tells n4 which of its networks the others are in.
  expect(n4.said()).toContain('Members reach it at /ip4/10.78.0.4/tcp/7766, /ip4/10.77.0.4/tcp/7766\n')
  await create(n1, 'web --mode global --publish 8080:80', webProgram)
  const answered = new Set<string>()
  await until(
    async () => {
      for (const { address } of [n1, n2, n3])
        answered.add((await n1.ok(`curl -sS -m 2 http://${address}:8080/`)).slice(0, 2))
      return answered.size === machines.length || Promise.reject(new Error([...answered].join()))
    },
    { deadlineMs: 8_000, what: 'all tasks to answer' },
  )
})

const tellClient = '--label grapevine.proxy-protocol=v2'

const echoDatagrams = `const s = require("dgram").createSocket("udp4")
s.on("message", (m, r) => s.send(m, r.port, r.address)).bind(process.env.PORT, process.env.GRAPEVINE_ADDRESS)`

/** Asks port 5300 of its first argument until there is an answer: a datagram may be lost. */
const sayDatagram = `const s = require("dgram").createSocket("udp4")
s.on("message", (m) => { console.log(String(m)); process.exit() })
const say = () => s.send("hello", 5300, process.argv[1])
say(); setInterval(say, 300); setTimeout(() => process.exit(1), 4000)`

/** Tells source and destination in the header of the PROXY protocol, version 2, for IPv4. */
const whoAsks = `require("net").createServer((s) => s.once("data", (d) => s.end(d.subarray(16, 20).join(".") + " to " + d.subarray(20, 24).join(".")))).listen(process.env.PORT, process.env.GRAPEVINE_ADDRESS)`

/** Resolves by GRAPEVINE_DNS alone, asks until both tasks have answered, prints the resolver's port and their nodes. Without single quotes. */
const askByResolver = `const [host, port] = process.env.GRAPEVINE_DNS.split(":")
const r = new (require("dns").Resolver)(); r.setServers([process.env.GRAPEVINE_DNS])
const seen = new Set()
const ask = () => r.resolve4("api", (e, [at] = []) => require("http").get({ host: at, agent: false }, (a) => a.on("data", (t) => seen.add(String(t).slice(0, 2)))).on("error", () => {}).on("close", () =>
  seen.size < 2 ? setTimeout(ask, 50) : console.log(port, ...[...seen].sort())))
ask()`

async function create(on: Machine, words: string, program: string): Promise<void> {
  await on.ok(`vine service create --detach --quiet --name ${words} node -e '${program.replaceAll("'", '"')}'`)
}

/** Waits until all tasks of web run, and none on the lost machine. */
function runsWithout(lost: Machine, others: readonly Machine[], count: number): Promise<readonly RunningTask[]> {
  return until(
    async () => {
      const tasks = await runs(others, 'web', count, 500)
      return tasks.every(({ node }) => node !== lost.name) && tasks
    },
    { deadlineMs: 9_000, what: `the task of ${lost.name} to run elsewhere` },
  )
}

interface Answer {
  readonly atMs: number
  readonly ms: number
  readonly node: string
}

interface Client {
  readonly answers: readonly Answer[]
  /** What failed of the requests that began after this moment: one that was open on a machine ends with it. */
  failuresSince(atMs: number): readonly string[]
}

/** On a machine: asks its own published port 8080 some 30 times a second, each time by a connection of its own, as long as the machine is on. */
function keepAsking(on: Machine): Client {
  const answers: Answer[] = []
  const failures: { readonly atMs: number; readonly text: string }[] = []
  on.begin(`node -e '${asker}'`, (line) => {
    const { atMs, ms, body, error } = JSON.parse(line)
    if (error === undefined) answers.push({ atMs, ms, node: body.slice(0, 2) })
    else failures.push({ atMs, text: `${on.name} at ${atMs} after ${ms} ms: ${error}` })
  })
  return { answers, failuresSince: (since) => failures.filter(({ atMs }) => atMs > since).map(({ text }) => text) }
}

const asker = `const { request } = require("http")
const ask = () => {
  const atMs = Date.now()
  const say = (what) => { console.log(JSON.stringify({ atMs, ms: Date.now() - atMs, ...what })); setTimeout(ask, 30) }
  const q = request({ host: "127.0.0.1", port: 8080, agent: false, timeout: 4000 }, (r) => {
    let body = ""
    r.on("data", (text) => { body += text }).on("end", () => say({ body }))
  })
  q.on("timeout", () => q.destroy(new Error("no answer"))).on("error", (e) => say({ error: e.code ?? e.message })).end()
}
ask()`

/** Web servers that run on any of the machines. */
async function processesEverywhere(machines: readonly Machine[]): Promise<number> {
  const counts = await Promise.all(machines.map(({ run }) => run('pgrep -fc "^[^ ]*node -e const e = process.env"')))
  return counts.reduce((sum, { out }) => sum + Number(out), 0)
}
