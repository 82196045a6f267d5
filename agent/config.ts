/**
 * What an agent is told, read once into one frozen object of slices: flags over GRAPEVINE_* over a YAML file over defaults.
 *
 * Pure: the environment, the file and the machine are handed in. Every value and every relation between values is checked, and all that
 * is wrong is told in one message, because a person who repairs three things wants to start the agent once more, not three times.
 */

import { dataDirDefault, nameOf } from './config-defaults.ts'
import { createReader, type RawSettings, type Reader, type Source } from './config-reader.ts'
import {
  checkAddress,
  checkApi,
  checkDockerSocket,
  checkEndpoint,
  checkHost,
  checkJoin,
  checkLabel,
  checkListen,
  checkName,
  checkServer,
  checkSocket,
  dockerSocketOf,
  endpoint,
  halves,
  portOf,
  socketPath,
} from './config-values.ts'
import { vxlanPort } from './core/routes/overlay.ts'
import { fault } from './fault.ts'
import { type Preset, presets, type Times } from './presets.ts'

export interface AgentConfig {
  readonly node: NodeConfig
  readonly transport: TransportConfig
  readonly dataplane: DataplaneConfig
  readonly runtime: RuntimeConfig
  readonly dns: DnsConfig
  readonly api: ApiConfig
  readonly log: LogConfig
  readonly preset: Preset
  /** All times of the cluster, from the preset. */
  readonly times: Times
}

export interface NodeConfig {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Directory of journal, keys, tasks and logs. */
  readonly dataDir: string
}

export interface TransportConfig {
  /** Multiaddrs, at least one. The mesh's TLS listens on each port + 1 (on any port where the port is 0). */
  readonly listen: readonly string[]
  /** Hosts told to other nodes, best first; none: the transport tells the addresses it finds, never a bridge's. */
  readonly advertise: readonly string[]
  /** Multiaddrs of members to join through, perhaps without /p2p/<id>, or host:port; none: found a cluster, or come back to the one on disk. */
  readonly join: readonly string[]
  readonly token: string | undefined
}

export interface DataplaneConfig {
  /** 'linux': network namespaces and nftables, for which the machine must be fit; 'auto': where it is; 'userspace': never. */
  readonly kind: (typeof dataplanes)[number]
  /** Addresses on which published ports listen and tasks are reached; the first is told to tasks. Never a wildcard. */
  readonly addresses: readonly string[]
  /** UDP port of the tunnels between linux nodes. */
  readonly dataPathPort: number
  /** UDP port on which the linux data plane takes what is encrypted. */
  readonly wireguardPort: number
}

export interface RuntimeConfig {
  /** 'docker': tasks are containers, and Docker must answer; 'auto': where it does; 'process': never. */
  readonly kind: (typeof runtimes)[number]
  /** Path of the unix socket of this machine's Docker, whether or not one answers there; undefined: none is to be used. */
  readonly socket: string | undefined
  /** Folder of Docker's client configuration of the agent's user, with the logins for registries. */
  readonly logins: string
}

export interface DnsConfig {
  /** Ports to try, in order. */
  readonly ports: readonly number[]
  /** Servers for other names, `address` or `address:port`; undefined: those of /etc/resolv.conf. */
  readonly upstream: readonly string[] | undefined
}

export interface ApiConfig {
  /** Path of the unix socket. */
  readonly socket: string
  /** Where the API answers over TCP too, with the PEM files of its TLS: clients need a certificate that `ca` has signed. */
  readonly tcp:
    | {
        readonly host: string
        readonly port: number
        readonly ca: string
        readonly cert: string
        readonly key: string
      }
    | undefined
  /** Where Prometheus may ask over TCP, beside the socket. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined
}

export interface LogConfig {
  readonly level: LogLevel
}

export const dataplanes = ['auto', 'linux', 'userspace'] as const

export const runtimes = ['auto', 'docker', 'process'] as const

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** What the machine itself says. */
export interface Machine {
  readonly hostname: string
  readonly isRoot: boolean
  readonly home: string
  /** Address of the default route; where there is none, the first that other machines may reach. */
  readonly routeAddress: string | undefined
  /** All addresses of its interfaces; undefined: not known, nothing is checked. */
  readonly addresses?: readonly string[]
  /** The socket of an agent that says nothing else. */
  readonly socket: string
}

/** 7766 is in no list of registered ports (IANA); the mesh takes the next one. */
const listenDefault = '/ip4/0.0.0.0/tcp/7766'

/** What wg(8)'s own documents use. */
const wireguardPortDefault = 51_820

const keys = new Set([
  'listen',
  'address',
  'advertise',
  'data-dir',
  'socket',
  'join',
  'token',
  'name',
  'label',
  'upstream-dns',
  'dns-port',
  'api',
  'tls-ca',
  'tls-cert',
  'tls-key',
  'metrics',
  'dataplane',
  'data-path-port',
  'wireguard-port',
  'runtime',
  'docker-socket',
  'preset',
  'log-level',
])

export interface ConfigInput {
  readonly flags: RawSettings
  readonly env: Readonly<Record<string, string | undefined>>
  /** Parsed content of the file, and its path for messages. */
  readonly file: { readonly path: string; readonly content: unknown } | undefined
  readonly machine: Machine
}

/** Throws one 'invalid' fault that names everything that is wrong. */
export function readConfig(input: ConfigInput): AgentConfig {
  const problems: string[] = []
  const reader = createReader(sources(input, problems), problems)
  const config = build(reader, input)
  problems.push(...relations(config), ...foreignAddress(config, input.machine))
  if (problems.length > 0)
    throw fault(
      'invalid',
      problems.length === 1
        ? (problems[0] ?? '')
        : `${problems.length} settings are wrong:\n${problems.map((p) => `  ${p}`).join('\n')}`,
      'See: vine agent --help',
    )
  return freeze(config)
}

function build(read: Reader, { env, machine }: ConfigInput): AgentConfig {
  const preset = read.choice('preset', Object.keys(presets) as Preset[]) ?? 'lan'
  const ports = read.whole('dns-port', 0, 65_535)
  const addresses = read.list('address', checkAddress)
  const socket = socketPath(read.one('socket', checkSocket) ?? machine.socket)
  return {
    node: {
      name: read.one('name', checkName) ?? nameOf(machine.hostname),
      labels: Object.fromEntries(read.list('label', checkLabel).map((label) => halves(label, '='))),
      dataDir: read.one('data-dir') ?? dataDirDefault(env, machine),
    },
    transport: {
      listen: orElse(read.list('listen', checkListen), [listenDefault]),
      advertise: read.list('advertise', checkHost),
      join: read.list('join', checkJoin),
      token: read.one('token'),
    },
    dataplane: {
      kind: read.choice('dataplane', dataplanes) ?? 'auto',
      addresses: orElse(addresses, [
        ...new Set([...(machine.routeAddress ? [machine.routeAddress] : []), '127.0.0.1']),
      ]),
      dataPathPort: read.whole('data-path-port', 1, 65_535) ?? vxlanPort,
      wireguardPort: read.whole('wireguard-port', 1, 65_535) ?? wireguardPortDefault,
    },
    runtime: {
      kind: read.choice('runtime', runtimes) ?? 'auto',
      socket: dockerSocketOf(read.one('docker-socket', checkDockerSocket), { host: env.DOCKER_HOST, own: socket }),
      logins: env.DOCKER_CONFIG || `${machine.home}/.docker`,
    },
    dns: {
      ports: ports === undefined ? [53, 10_053] : [ports],
      upstream: undefinedIfEmpty(read.list('upstream-dns', checkServer)),
    },
    api: {
      socket,
      tcp: apiOverTcp(read),
      metrics: endpoint(read.one('metrics', checkEndpoint)),
    },
    log: { level: read.choice('log-level', logLevels) ?? 'info' },
    preset,
    times: presets[preset],
  }
}

/** The files of its TLS, each by its setting. */
const tlsKeys = ['tls-ca', 'tls-cert', 'tls-key'] as const

/** Without all three files there is no such API: an open one would hand this machine to whoever reaches it. */
function apiOverTcp(read: Reader): ApiConfig['tcp'] {
  const given = read.one('api')
  const place = endpoint(read.one('api', checkApi)?.replace(/^tcp:\/\//, ''))
  const [ca, cert, key] = tlsKeys.map((name) => read.one(name))
  if (given === undefined && ca === undefined && cert === undefined && key === undefined) return undefined
  const missing = [...(given === undefined ? ['api'] : []), ...tlsKeys.filter((name) => read.one(name) === undefined)]
  if (missing.length > 0) {
    const which = missing.map((name) => `--${name}`).join(', ')
    read.problem(
      `the API over TCP needs --api, --tls-ca, --tls-cert and --tls-key, of which ${which} ${missing.length === 1 ? 'is' : 'are'} missing`,
    )
  }
  if (place === undefined || ca === undefined || cert === undefined || key === undefined) return undefined
  return { ...place, ca, cert, key }
}

/** What two settings together may not be. */
function relations({ transport, api, dns, dataplane }: AgentConfig): readonly string[] {
  const problems: string[] = []
  const { dataPathPort, wireguardPort } = dataplane
  if (dataPathPort === wireguardPort)
    problems.push(`UDP port ${dataPathPort} is asked for twice: by --data-path-port and by --wireguard-port`)
  const ports = transport.listen.map(portOf)
  if (transport.token !== undefined && transport.join.length === 0)
    problems.push('--token is given without --join: name the member to join through')
  const taken = new Map<number, string>()
  for (const [i, port] of ports.entries()) {
    if (port === 0) continue
    const own = transport.listen[i] ?? ''
    for (const [number, use] of [
      [port, `--listen ${own}`],
      [port + 1, `the mesh of --listen ${own}`],
    ] as const) {
      const other = taken.get(number)
      // The same port on another address of the machine is no clash.
      if (other !== undefined && sameHost(other, own))
        problems.push(`port ${number} is asked for twice: by ${other} and by ${use}`)
      taken.set(number, use)
    }
  }
  for (const [flag, port = 0] of [
    ['--metrics', api.metrics?.port],
    ['--api', api.tcp?.port],
  ] as const) {
    const other = port === 0 ? undefined : taken.get(port)
    if (other !== undefined) problems.push(`${flag} has port ${port}, which is taken by ${other}`)
  }
  for (const port of dns.ports)
    if (dns.ports.length === 1 && taken.has(port)) problems.push(`--dns-port ${port} is taken by ${taken.get(port)}`)
  return problems
}

/** Tasks are reached on the first address. A further one may come later, as one that moves between machines does. */
function foreignAddress({ dataplane }: AgentConfig, { addresses }: Machine): readonly string[] {
  const [first = ''] = dataplane.addresses
  if (addresses === undefined || addresses.includes(first) || /^127\./.test(first)) return []
  return [`--address ${first} is no address of this machine, which has ${addresses.join(', ')}`]
}

function sameHost(use: string, listen: string): boolean {
  const host = listen.split('/')[2]
  return use.includes(`/${host}/`) || use.includes('/0.0.0.0/') || host === '0.0.0.0'
}

function sources({ flags, env, file }: ConfigInput, problems: string[]): readonly Source[] {
  const fromEnv: Record<string, unknown> = {}
  for (const key of keys) {
    const value = env[envName(key)]
    if (value !== undefined && value !== '') fromEnv[key] = value
  }
  return [
    { values: flags, called: (key) => `--${key}` },
    { values: fromEnv, called: envName },
    { values: fileValues(file, problems), called: (key) => `${key} in ${file?.path ?? ''}` },
  ]
}

function fileValues(file: ConfigInput['file'], problems: string[]): RawSettings {
  const content = file?.content ?? {}
  if (typeof content !== 'object' || Array.isArray(content)) {
    problems.push(`${file?.path}: it must be a map of settings, for instance "name: n1"`)
    return {}
  }
  for (const key of Object.keys(content))
    if (!keys.has(key)) problems.push(`${file?.path}: unknown setting "${key}"; there are ${[...keys].join(', ')}`)
  return content as RawSettings
}

function envName(key: string): string {
  return `GRAPEVINE_${key.toUpperCase().replaceAll('-', '_')}`
}

function orElse<T>(items: readonly T[], otherwise: readonly T[]): readonly T[] {
  return items.length > 0 ? items : otherwise
}

function undefinedIfEmpty<T>(items: readonly T[]): readonly T[] | undefined {
  return items.length > 0 ? items : undefined
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const item of Object.values(value)) freeze(item)
  }
  return value
}
