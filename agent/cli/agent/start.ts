/** `vine agent`: reads the configuration and hands it to the agent, which is another part (../../start.ts) and loaded only here. */
import { readFile } from 'node:fs/promises'
import { type AgentConfig, type ConfigInput, readConfig } from '../../config.ts'
import { Fault, reasonOf } from '../../fault.ts'
import { type Call, list, type Options, text } from '../definition.ts'
import { usage } from '../usage.ts'
import { readMachine } from './machine.ts'

/** Read if it is there; a file that was asked for must be. */
const standardFile = '/etc/grapevine/agent.yaml'

export async function start({ io, options }: Call): Promise<number> {
  const file = await readSettings(text(options, 'config') ?? io.env.GRAPEVINE_CONFIG)
  const config = read({ flags: flagsOf(options), env: io.env, file, machine: readMachine(io.env) })
  const { startAgent } = await import('../../start.ts')
  return startAgent(config, io)
}

/** Wrong settings are a usage error of this command. */
function read(input: ConfigInput): AgentConfig {
  try {
    return readConfig(input)
  } catch (error) {
    throw error instanceof Fault ? usage(error.message, error.fix) : error
  }
}

async function readSettings(path: string | undefined): Promise<ConfigInput['file']> {
  const chosen = path || standardFile
  let content: string
  try {
    content = await readFile(chosen, 'utf8')
  } catch (error) {
    if (!path) return undefined
    throw usage(`cannot read the configuration ${chosen}: ${reasonOf(error)}`)
  }
  const { parse } = await import('yaml')
  try {
    return { path: chosen, content: parse(content) }
  } catch (error) {
    throw usage(`${chosen} is not YAML: ${reasonOf(error)}`)
  }
}

/** Parsed options under the names that environment and file have too. */
function flagsOf(options: Options): Readonly<Record<string, unknown>> {
  const one = (name: string, key: string) => (text(options, name) === undefined ? {} : { [key]: [text(options, name)] })
  const many = (name: string, key = name) => (list(options, name).length === 0 ? {} : { [key]: list(options, name) })
  return {
    ...many('listen'),
    ...many('address'),
    ...many('advertise'),
    ...many('join'),
    ...many('label'),
    ...many('upstreamDns', 'upstream-dns'),
    ...one('dataDir', 'data-dir'),
    ...one('socket', 'socket'),
    ...one('token', 'token'),
    ...one('name', 'name'),
    ...one('dnsPort', 'dns-port'),
    ...one('api', 'api'),
    ...one('tlsCa', 'tls-ca'),
    ...one('tlsCert', 'tls-cert'),
    ...one('tlsKey', 'tls-key'),
    ...one('metrics', 'metrics'),
    ...one('dataplane', 'dataplane'),
    ...one('dataPathPort', 'data-path-port'),
    ...one('wireguardPort', 'wireguard-port'),
    ...one('runtime', 'runtime'),
    ...one('dockerSocket', 'docker-socket'),
    ...one('preset', 'preset'),
    ...one('logLevel', 'log-level'),
  }
}
