// Holds a value against a schema of swagger.yaml (Swagger 2.0): types, required fields, enums, times, and fields that Docker does not have.
// Small on purpose: it knows the words that the definitions of the swarm paths use, and refuses any other.
import fs from 'node:fs'
import path from 'node:path'
import YAML from 'yaml'

export interface Schema {
  readonly $ref?: string
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly format?: string
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | boolean
  readonly items?: Schema
  readonly allOf?: readonly Schema[]
  readonly 'x-nullable'?: boolean
}

export interface Operation {
  readonly tags?: readonly string[]
  readonly responses: Readonly<Record<string, { readonly schema?: Schema }>>
}

interface Swagger {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly definitions: Readonly<Record<string, Schema>>
}

export const swagger: Swagger = YAML.parse(fs.readFileSync(path.join(import.meta.dirname, 'swagger.yaml'), 'utf8'))

/** What does not fit, a line each; none when it fits. A field that Docker does not have is a misfit too: it may be a slip. */
export function misfits(value: unknown, schema: Schema, at = '$'): readonly string[] {
  const whole = flatten(schema)
  if (value === null) return whole['x-nullable'] === true ? [] : [`${at} is null`]
  if (whole.enum !== undefined && !whole.enum.includes(value))
    return [`${at} is ${JSON.stringify(value)}, not one of ${whole.enum}`]
  switch (whole.type) {
    case undefined:
      return []
    case 'string':
      return typeof value === 'string' ? timeMisfits(value, whole, at) : [`${at} is no string`]
    case 'integer':
      return Number.isInteger(value) ? [] : [`${at} is no integer`]
    case 'number':
      return typeof value === 'number' ? [] : [`${at} is no number`]
    case 'boolean':
      return typeof value === 'boolean' ? [] : [`${at} is no boolean`]
    case 'array':
      return Array.isArray(value)
        ? value.flatMap((item, i) => misfits(item, whole.items ?? {}, `${at}[${i}]`))
        : [`${at} is no array`]
    case 'object':
      return objectMisfits(value, whole, at)
    default:
      throw new Error(`swagger.yaml has a type that this validator does not know: ${whole.type}`)
  }
}

/**
 * Docker has these too, although its definitions do not: its daemon and client spell them so. The network of a task's attachment is
 * swarm's own, as swagger.yaml's example of a task shows it.
 */
const undocumented = /(^|\.)(PreviousSpec|ContainerSpec\.Healthcheck|NetworksAttachments\[\d+\]\.Network\.\w+)$/

/** The two fields that are ours: which data plane and runtime a node has, and why not the ones that were asked for. Docker's clients ignore what they do not know. */
const ours = /\.Description\.(Dataplane|Runtime)$/

function objectMisfits(value: unknown, schema: Schema, at: string): readonly string[] {
  if (typeof value !== 'object' || Array.isArray(value) || value === null) return [`${at} is no object`]
  const missing = (schema.required ?? [])
    .filter((name) => !Object.hasOwn(value, name))
    .map((name) => `${at}.${name} is missing`)
  const wrong = Object.entries(value).flatMap(([name, field]) => {
    const here = `${at}.${name}`
    const known = schema.properties?.[name]
    if (known !== undefined) return misfits(field, known, here)
    if (typeof schema.additionalProperties === 'object') return misfits(field, schema.additionalProperties, here)
    const open = schema.properties === undefined || schema.additionalProperties === true
    return open || undocumented.test(here) || ours.test(here) ? [] : [`${here} is no field of Docker's`]
  })
  return [...missing, ...wrong]
}

function timeMisfits(value: string, schema: Schema, at: string): readonly string[] {
  if (schema.format !== 'dateTime') return []
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(value) ? [] : [`${at} is no RFC 3339 time: ${value}`]
}

/** Follows `$ref` and joins `allOf`. */
function flatten(schema: Schema): Schema {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace('#/definitions/', '')
    const found = swagger.definitions[name]
    if (found === undefined) throw new Error(`swagger.yaml has no definition ${name}`)
    return { ...flatten(found), ...(schema['x-nullable'] === undefined ? {} : { 'x-nullable': schema['x-nullable'] }) }
  }
  if (schema.allOf === undefined) return schema
  const { allOf: _parts, ...own } = schema
  const parts: readonly Schema[] = [...schema.allOf, own].map((part) => ({ ...flatten(part) }))
  return {
    ...Object.assign({}, ...parts),
    type: 'object',
    required: parts.flatMap((part) => part.required ?? []),
    properties: Object.assign({}, ...parts.map((part) => part.properties ?? {})),
  }
}
