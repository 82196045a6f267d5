/**
 * What a Compose file may say, as far as `docker stack` reads it (Compose file 3.13), and its long form: the short ways of writing are turned into the
 * long ones while it is checked. The long form is itself a valid file, which is what `stack config` prints; keys stand in Docker's order.
 *
 * More generous than Docker where the Compose Specification is, and only there: a number or a truth may be written as text, `cpus` as a number.
 */
import { z } from 'zod'
import { Fault } from '../../../fault.ts'
import { formatDuration, parseDuration } from '../../duration.ts'
import { parseBytes } from '../../service/words.ts'
import { shellWords } from './shell-words.ts'
import { longPorts, longVolume } from './short-forms.ts'

/** A value of one kind; `read` gives undefined for what is not of it. */
function leaf<T>(sentence: string, read: (value: unknown) => T | undefined) {
  return z.unknown().transform((value, context) => {
    const known = read(value)
    if (known !== undefined) return known
    context.addIssue({ code: 'custom', message: sentence })
    return z.NEVER
  })
}

/** Turns into what `parse` makes of a text, or says what is wrong: a string it gives back, or the message of a fault it throws. */
function parsed<T extends object>(parse: (text: string) => T | string) {
  return z.string().transform((value, context) => {
    const made = parse(value)
    if (typeof made !== 'string') return made
    context.addIssue({ code: 'custom', message: made })
    return z.NEVER
  })
}

function quietly<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch (error) {
    if (error instanceof Fault) return undefined
    throw error
  }
}

const text = leaf('must be a string', (value) => (typeof value === 'string' ? value : undefined))
const whole = leaf('must be a integer', (value) => {
  if (typeof value === 'string' && /^-?\d+$/.test(value)) return Number(value)
  return Number.isSafeInteger(value) ? (value as number) : undefined
})
const ratio = leaf('must be a number', (value) => {
  if (typeof value === 'string' && /^\d*\.?\d+$/.test(value)) return Number(value)
  return typeof value === 'number' ? value : undefined
})
/** The words are those of YAML 1.1. */
const truth = leaf('must be a boolean', (value) => {
  if (typeof value === 'boolean') return value
  if (typeof value !== 'string') return undefined
  if (/^(y|yes|true|on)$/i.test(value)) return true
  return /^(n|no|false|off)$/i.test(value) ? false : undefined
})
const cpus = leaf('must be a string', (value) =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : undefined,
)
const duration = text.transform((value, context) => {
  const made = quietly(() => formatDuration(parseDuration('', value)))
  if (made !== undefined) return made
  context.addIssue({ code: 'custom', message: "Does not match format 'duration'" })
  return z.NEVER
})
/** Bytes, as text. */
const size = text.transform((value, context) => {
  const made = quietly(() => String(parseBytes(value, '')))
  if (made !== undefined) return made
  context.addIssue({ code: 'custom', message: `invalid size: '${value}'` })
  return z.NEVER
})
const order = leaf('must be one of the following: "start-first", "stop-first"', (value) =>
  value === 'start-first' || value === 'stop-first' ? value : undefined,
)

const words = z.array(text)
const wordOrWords = z.union([text.transform((value) => [value]), words])
const command = z.union([parsed(shellWords).transform((value) => [...value]), words])

const scalar = leaf('must be a string, number or null', (value) => {
  if (value === null) return { value: null }
  return typeof value === 'string' || typeof value === 'number' ? { value: String(value) } : undefined
})

function sorted<T>(entries: readonly (readonly [string, T])[]): { [key: string]: T } {
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
}

/** Names and values as a mapping or as a list of `name=value`; null where a name stands alone. */
const variables = z.union([
  z.record(z.string(), scalar).transform((map) => sorted(Object.entries(map).map(([key, { value }]) => [key, value]))),
  words.transform((list) =>
    sorted(
      list.map((item): [string, string | null] => {
        const at = item.indexOf('=')
        return at < 0 ? [item, null] : [item.slice(0, at), item.slice(at + 1)]
      }),
    ),
  ),
])
/** The same, where a name alone has the empty value. */
const pairs = variables.transform((map) => sorted(Object.entries(map).map(([key, value]) => [key, value ?? ''])))
const options = z
  .record(z.string(), scalar)
  .transform((map) => sorted(Object.entries(map).map(([key, { value }]) => [key, value ?? ''])))
/** `name:address` or `name=address`, in a list or a mapping. */
const hosts = z.union([
  words.transform((list) => list.map((item) => item.replace(/^([^:=]+)=/, '$1:'))),
  z
    .record(z.string(), scalar)
    .transform((map) =>
      Object.entries(sorted(Object.entries(map))).map(([name, { value }]) => `${name}:${value ?? ''}`),
    ),
])

/** Keys that begin with x- are the user's own. */
function open<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.looseObject(shape).superRefine((value, context) => {
    for (const key of Object.keys(value))
      if (!Object.hasOwn(shape, key) && !key.startsWith('x-'))
        context.addIssue({ code: 'unrecognized_keys', keys: [key], input: value })
  })
}

const port = z.union([
  leaf("Does not match format 'ports'", (value) =>
    typeof value === 'string' || typeof value === 'number' ? longPorts(String(value)) : undefined,
  ).transform((value) => [...value]),
  z
    .strictObject({
      mode: text.optional(),
      target: whole.optional(),
      published: whole.optional(),
      protocol: text.optional(),
    })
    .transform((value) => [value]),
])

const volume = z.union([
  parsed(longVolume),
  z.strictObject({
    type: text,
    source: text.optional(),
    target: text.optional(),
    read_only: truth.optional(),
    consistency: text.optional(),
    bind: z.strictObject({ propagation: text.optional() }).optional(),
    volume: z.strictObject({ nocopy: truth.optional() }).optional(),
    tmpfs: z.strictObject({ size: whole.optional() }).optional(),
  }),
])

const fileReference = z.union([
  text.transform((source) => ({ source })),
  z.strictObject({
    source: text.optional(),
    target: text.optional(),
    uid: text.optional(),
    gid: text.optional(),
    mode: whole.optional(),
  }),
])

const updating = z.strictObject({
  parallelism: whole.optional(),
  delay: duration.optional(),
  failure_action: text.optional(),
  monitor: duration.optional(),
  max_failure_ratio: ratio.optional(),
  order: order.optional(),
})

const discrete = z.strictObject({
  discrete_resource_spec: z.strictObject({ kind: text.optional(), value: whole.optional() }).optional(),
})

const deploy = z
  .strictObject({
    mode: text.optional(),
    replicas: whole.optional(),
    labels: pairs.optional(),
    update_config: updating.optional(),
    rollback_config: updating.optional(),
    resources: z
      .strictObject({
        limits: z.strictObject({ cpus: cpus.optional(), memory: size.optional(), pids: whole.optional() }).optional(),
        reservations: z
          .strictObject({
            cpus: cpus.optional(),
            memory: size.optional(),
            generic_resources: z.array(discrete).optional(),
          })
          .optional(),
      })
      .optional(),
    restart_policy: z
      .strictObject({
        condition: text.optional(),
        delay: duration.optional(),
        max_attempts: whole.optional(),
        window: duration.optional(),
      })
      .optional(),
    placement: z
      .strictObject({
        constraints: words.optional(),
        preferences: z.array(z.strictObject({ spread: text.optional() })).optional(),
        max_replicas_per_node: whole.optional(),
      })
      .optional(),
    endpoint_mode: text.optional(),
  })
  .nullable()

const attachment = z
  .strictObject({
    aliases: words.optional(),
    driver_opts: options.optional(),
    ipv4_address: text.optional(),
    ipv6_address: text.optional(),
  })
  .nullable()

const serviceSchema = open({
  build: z.union([text.transform((context) => ({ context })), z.looseObject({})]).optional(),
  cap_add: words.optional(),
  cap_drop: words.optional(),
  cgroupns_mode: text.optional(),
  cgroup_parent: text.optional(),
  command: command.optional(),
  configs: z.array(fileReference).optional(),
  container_name: text.optional(),
  credential_spec: z
    .strictObject({ config: text.optional(), file: text.optional(), registry: text.optional() })
    .optional(),
  depends_on: words.optional(),
  deploy: deploy.optional(),
  devices: words.optional(),
  dns: wordOrWords.optional(),
  dns_search: wordOrWords.optional(),
  domainname: text.optional(),
  entrypoint: command.optional(),
  environment: variables.optional(),
  env_file: wordOrWords.optional(),
  expose: z.array(cpus).optional(),
  external_links: words.optional(),
  extra_hosts: hosts.optional(),
  hostname: text.optional(),
  healthcheck: z
    .strictObject({
      test: z.union([text.transform((line) => ['CMD-SHELL', line]), words]).optional(),
      timeout: duration.optional(),
      interval: duration.optional(),
      retries: whole.optional(),
      start_period: duration.optional(),
      start_interval: duration.optional(),
      disable: truth.optional(),
    })
    .optional(),
  image: text.optional(),
  init: truth.optional(),
  ipc: text.optional(),
  isolation: text.optional(),
  labels: pairs.optional(),
  links: words.optional(),
  logging: z.strictObject({ driver: text.optional(), options: options.optional() }).optional(),
  mac_address: text.optional(),
  network_mode: text.optional(),
  networks: z
    .union([words.transform((list) => sorted(list.map((name) => [name, null]))), z.record(z.string(), attachment)])
    .transform((map) => sorted(Object.entries(map)))
    .optional(),
  oom_score_adj: whole.optional(),
  pid: text.nullable().optional(),
  ports: z
    .array(port)
    .transform((lists) => lists.flat())
    .optional(),
  privileged: truth.optional(),
  read_only: truth.optional(),
  restart: text.optional(),
  secrets: z.array(fileReference).optional(),
  security_opt: words.optional(),
  shm_size: cpus.optional(),
  stdin_open: truth.optional(),
  stop_grace_period: duration.optional(),
  stop_signal: text.optional(),
  sysctls: pairs.optional(),
  tmpfs: wordOrWords.optional(),
  tty: truth.optional(),
  ulimits: z
    .record(z.string(), z.union([z.strictObject({ soft: whole, hard: whole }), whole]))
    .transform((map) => sorted(Object.entries(map)))
    .optional(),
  user: text.optional(),
  userns_mode: text.optional(),
  volumes: z.array(volume).optional(),
  working_dir: text.optional(),
})

/** `true`, or the old form with the name inside. */
const external = z.union([truth, z.strictObject({ name: text.optional() })])

const network = open({
  name: text.optional(),
  driver: text.optional(),
  driver_opts: options.optional(),
  ipam: z
    .strictObject({
      driver: text.optional(),
      config: z.array(z.strictObject({ subnet: text.optional() })).optional(),
    })
    .optional(),
  external: external.optional(),
  internal: truth.optional(),
  attachable: truth.optional(),
  labels: pairs.optional(),
}).nullable()

const volumeDefinition = open({
  name: text.optional(),
  driver: text.optional(),
  driver_opts: options.optional(),
  external: external.optional(),
  labels: pairs.optional(),
}).nullable()

/** A secret or a config. */
const fileObject = open({
  name: text.optional(),
  file: text.optional(),
  external: external.optional(),
  labels: pairs.optional(),
  driver: text.optional(),
  driver_opts: options.optional(),
  template_driver: text.optional(),
})

const key = /^[a-zA-Z0-9._-]+$/
function section<Item extends z.ZodType>(item: Item) {
  return z.record(z.string(), item).transform((map, context) => {
    const bad = Object.keys(map).find((name) => !key.test(name))
    if (bad !== undefined) context.addIssue({ code: 'unrecognized_keys', keys: [bad], input: map })
    return sorted(Object.entries(map))
  })
}

export const composeSchema = open({
  version: text.optional(),
  /** Of the Compose Specification; a stack is named on the command line. */
  name: text.optional(),
  services: section(serviceSchema).optional(),
  networks: section(network.transform((value) => value ?? {})).optional(),
  volumes: section(volumeDefinition.transform((value) => value ?? {})).optional(),
  secrets: section(fileObject).optional(),
  configs: section(fileObject).optional(),
})

export type Compose = z.infer<typeof composeSchema>
export type Service = z.infer<typeof serviceSchema>
export type NetworkDefinition = NonNullable<z.infer<typeof network>>
export type VolumeDefinition = NonNullable<z.infer<typeof volumeDefinition>>
export type FileObject = z.infer<typeof fileObject>
/** A secret or config that a service reads, in its long form. */
export interface FileReference {
  readonly source?: string | undefined
  readonly target?: string | undefined
  readonly uid?: string | undefined
  readonly gid?: string | undefined
  readonly mode?: number | undefined
}
export type ServiceVolume = z.infer<typeof volume>
