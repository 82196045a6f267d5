/**
 * What users ask for, in the Docker Engine API's own words and shape (ServiceSpec, NetworkCreate), kept as it was given.
 *
 * The API is Docker's, so the specs are stored as they came and inspected as they were stored; decisions read them through
 * agent/core/wanted.ts. Unknown fields survive (looseObject): an older agent must not strip what a newer one wrote.
 * Durations are nanoseconds, memory is bytes, as in Docker's API.
 */
import { z } from 'zod'
import { limits } from './limits.ts'

const text = z.string().max(limits.textBytesMax)
const words = z.array(text).max(limits.listItemsMax)
const labels = z.record(text, text)
const nanoseconds = z.number().int().nonnegative()

export const healthConfigSchema = z.looseObject({
  /** [] inherit, ['NONE'] off, ['CMD', …argv], ['CMD-SHELL', line]. */
  Test: words.optional(),
  Interval: nanoseconds.optional(),
  Timeout: nanoseconds.optional(),
  Retries: z.number().int().nonnegative().optional(),
  StartPeriod: nanoseconds.optional(),
  StartInterval: nanoseconds.optional(),
})

export const mountSchema = z.looseObject({
  /** Anything else than these is refused (core/admit/unsupported.ts). */
  Type: text.optional(),
  Source: text.optional(),
  Target: text,
  ReadOnly: z.boolean().nullish(),
  Consistency: text.nullish(),
  BindOptions: z.looseObject({ Propagation: text.nullish() }).nullish(),
  VolumeOptions: z
    .looseObject({
      NoCopy: z.boolean().nullish(),
      Labels: labels.nullish(),
      DriverConfig: z.looseObject({ Name: text.nullish(), Options: labels.nullish() }).nullish(),
    })
    .nullish(),
  TmpfsOptions: z
    .looseObject({
      SizeBytes: z.number().int().nonnegative().nullish(),
      Mode: z.number().int().nonnegative().nullish(),
    })
    .nullish(),
})

export const ulimitSchema = z.looseObject({ Name: text, Soft: z.number().int(), Hard: z.number().int() })

export const privilegesSchema = z.looseObject({
  SELinuxContext: z
    .looseObject({
      Disable: z.boolean().nullish(),
      User: text.nullish(),
      Role: text.nullish(),
      Type: text.nullish(),
      Level: text.nullish(),
    })
    .nullish(),
  Seccomp: z.looseObject({ Mode: text.nullish(), Profile: text.nullish() }).nullish(),
  AppArmor: z.looseObject({ Mode: text.nullish() }).nullish(),
  NoNewPrivileges: z.boolean().nullish(),
})

export const containerSpecSchema = z.looseObject({
  /** For the process runtime the name of a program on the host's PATH. */
  Image: text,
  Labels: labels.optional(),
  Command: words.optional(),
  Args: words.optional(),
  Hostname: text.optional(),
  Env: words.optional(),
  Dir: text.optional(),
  User: text.optional(),
  StopSignal: text.optional(),
  StopGracePeriod: nanoseconds.optional(),
  Healthcheck: healthConfigSchema.optional(),
  /** Lines of a hosts file: `address name…`. */
  Hosts: words.nullish(),
  Init: z.boolean().nullish(),
  /** What follows only a container can have (agent/core/container.ts). */
  Mounts: z.array(mountSchema).max(limits.listItemsMax).nullish(),
  Groups: words.nullish(),
  TTY: z.boolean().nullish(),
  OpenStdin: z.boolean().nullish(),
  ReadOnly: z.boolean().nullish(),
  CapabilityAdd: words.nullish(),
  CapabilityDrop: words.nullish(),
  Sysctls: labels.nullish(),
  Ulimits: z.array(ulimitSchema).max(limits.listItemsMax).nullish(),
  OomScoreAdj: z.number().int().min(-1000).max(1000).nullish(),
  Privileges: privilegesSchema.nullish(),
  DNSConfig: z
    .looseObject({ Nameservers: words.nullish(), Search: words.nullish(), Options: words.nullish() })
    .nullish(),
  Isolation: text.nullish(),
})

export const networkAttachmentSchema = z.looseObject({
  /** Network id; the API resolves names to ids before it stores them. */
  Target: text,
  Aliases: words.nullish(),
  DriverOpts: labels.nullish(),
})

export const restartPolicySchema = z.looseObject({
  Condition: z.enum(['none', 'on-failure', 'any']).optional(),
  Delay: nanoseconds.optional(),
  MaxAttempts: z.number().int().nonnegative().optional(),
  Window: nanoseconds.optional(),
})

export const resourcesSchema = z.looseObject({
  NanoCPUs: z.number().int().nonnegative().optional(),
  MemoryBytes: z.number().int().nonnegative().optional(),
  Pids: z.number().int().nonnegative().optional(),
})

export const taskTemplateSchema = z.looseObject({
  ContainerSpec: containerSpecSchema,
  Resources: z.looseObject({ Limits: resourcesSchema.nullish(), Reservations: resourcesSchema.nullish() }).nullish(),
  RestartPolicy: restartPolicySchema.nullish(),
  Placement: z
    .looseObject({
      Constraints: words.nullish(),
      Preferences: z.array(z.looseObject({ Spread: z.looseObject({ SpreadDescriptor: text }).optional() })).nullish(),
      MaxReplicas: z.number().int().nonnegative().optional(),
      Platforms: z.array(z.looseObject({ OS: text.optional(), Architecture: text.optional() })).nullish(),
    })
    .nullish(),
  Networks: z.array(networkAttachmentSchema).max(limits.listItemsMax).nullish(),
  /** Raised by `--force`: a change here replaces every task. */
  ForceUpdate: z.number().int().nonnegative().optional(),
  Runtime: text.optional(),
  LogDriver: z.looseObject({ Name: text.nullish(), Options: labels.nullish() }).nullish(),
})

export const portConfigSchema = z.looseObject({
  Name: text.optional(),
  Protocol: z.enum(['tcp', 'udp', 'sctp']).optional(),
  TargetPort: z.number().int().min(1).max(65535),
  /** Absent or 0 until one of 30000..32767 is chosen. */
  PublishedPort: z.number().int().min(0).max(65535).optional(),
  PublishMode: z.enum(['ingress', 'host']).optional(),
})

const updateConfigSchema = z.looseObject({
  Parallelism: z.number().int().nonnegative().optional(),
  Delay: nanoseconds.optional(),
  Order: z.enum(['stop-first', 'start-first']).optional(),
})

export const serviceSpecSchema = z.looseObject({
  Name: text,
  Labels: labels.nullish(),
  TaskTemplate: taskTemplateSchema,
  Mode: z
    .looseObject({
      Replicated: z.looseObject({ Replicas: z.number().int().nonnegative().nullish() }).optional(),
      Global: z.looseObject({}).optional(),
    })
    .nullish(),
  UpdateConfig: updateConfigSchema.nullish(),
  RollbackConfig: updateConfigSchema.nullish(),
  /** Old place of Networks (API < 1.44); read when the template has none. */
  Networks: z.array(networkAttachmentSchema).nullish(),
  EndpointSpec: z
    .looseObject({
      Mode: z.enum(['vip', 'dnsrr']).optional(),
      Ports: z.array(portConfigSchema).max(limits.listItemsMax).nullish(),
    })
    .nullish(),
})

export const networkSpecSchema = z.looseObject({
  Name: text,
  Driver: text.optional(),
  Internal: z.boolean().optional(),
  Attachable: z.boolean().optional(),
  Ingress: z.boolean().optional(),
  EnableIPv6: z.boolean().optional(),
  IPAM: z
    .looseObject({
      Driver: text.optional(),
      Config: z
        .array(
          z.looseObject({
            Subnet: text.optional(),
            IPRange: text.optional(),
            Gateway: text.optional(),
            AuxiliaryAddresses: labels.optional(),
          }),
        )
        .nullish(),
    })
    .nullish(),
  Options: labels.nullish(),
  Labels: labels.nullish(),
})

/** What `node update` may change; any node may write it. */
export const nodeSpecSchema = z.looseObject({
  Name: text.optional(),
  Labels: labels.nullish(),
  Role: z.enum(['manager', 'worker']).optional(),
  Availability: z.enum(['active', 'pause', 'drain']),
})

export type HealthConfig = z.infer<typeof healthConfigSchema>
export type Mount = z.infer<typeof mountSchema>
export type Ulimit = z.infer<typeof ulimitSchema>
export type Privileges = z.infer<typeof privilegesSchema>
export type ContainerSpec = z.infer<typeof containerSpecSchema>
export type TaskTemplate = z.infer<typeof taskTemplateSchema>
export type PortConfig = z.infer<typeof portConfigSchema>
export type ServiceSpec = z.infer<typeof serviceSpecSchema>
export type NetworkSpec = z.infer<typeof networkSpecSchema>
export type NodeSpec = z.infer<typeof nodeSpecSchema>
