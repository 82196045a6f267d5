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
  Hosts: words.optional(),
  Init: z.boolean().nullish(),
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
export type ContainerSpec = z.infer<typeof containerSpecSchema>
export type TaskTemplate = z.infer<typeof taskTemplateSchema>
export type PortConfig = z.infer<typeof portConfigSchema>
export type ServiceSpec = z.infer<typeof serviceSpecSchema>
export type NetworkSpec = z.infer<typeof networkSpecSchema>
export type NodeSpec = z.infer<typeof nodeSpecSchema>
