// The files of docker/ are valid, and every command line in them is one that vine understands.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { commands } from '../../../agent/cli/commands.ts'
import { groups } from '../../../agent/cli/groups.ts'
import { parse } from '../../../agent/cli/program.ts'
import { splitCommand } from '../../../agent/cli/service/words.ts'
import { serviceSpecs } from '../../../agent/cli/stack/compose/convert.ts'
import { load } from '../../../agent/cli/stack/compose/load.ts'
import { mergeFiles } from '../../../agent/cli/stack/compose/merge.ts'
import { root } from '../../tidy/source.ts'

const loaded = await Promise.all(groups.map(async (group) => ({ ...group, commands: await group.load() })))
const read = (name: string) => readFileSync(join(root, 'docker', name), 'utf8')

interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>
  readonly volumes: Readonly<Record<string, null>>
}
interface ComposeService {
  readonly entrypoint?: readonly string[]
  readonly command: readonly string[]
  readonly volumes: readonly string[]
  readonly ports?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
}
const compose: Compose = parseYaml(read('compose.yaml'), { merge: true })
const unit = read('grapevine.service')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('['))
  .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const)
const dockerfile = read('Dockerfile').replaceAll('\\\n', ' ')

/** Command lines after `vine`. */
const lines: readonly (readonly [string, readonly string[]])[] = [
  ...unit.filter(([key]) => key.startsWith('Exec')).map(([key, value]) => [key, value.split(' ').slice(1)] as const),
  ...Array.from(dockerfile.matchAll(/^(?:HEALTHCHECK .*)?CMD (\[.*\])$/gm), ([, words = '']) => {
    const all: readonly string[] = JSON.parse(words)
    return ['CMD', all[0] === 'vine' ? all.slice(1) : all] as const
  }),
  ...Object.entries(compose.services).flatMap(([name, { entrypoint, command }]) =>
    entrypoint === undefined
      ? [[name, command] as const]
      : Array.from(
          command.join(' ').matchAll(/vine ([^);"]+)/g),
          ([, words = '']) => [name, words.trim().split(' ')] as const,
        ),
  ),
  ...Array.from(
    read('README.md').matchAll(/(?:^| )vine ((?:token|service|stack|agent|status)\b[^`\n|]*)/gm),
    ([, words = '']) => {
      return ['README.md', splitCommand(words, 'the line')] as const
    },
  ),
]

test.each(lines)('%s: vine %j', async (_, words) => {
  expect(await parse(words, commands, loaded)).not.toHaveProperty('help')
})

test('there are command lines of every file', () => {
  expect(new Set(lines.map(([from]) => from))).toEqual(
    new Set(['ExecStart', 'ExecReload', 'CMD', 'n1', 'n2', 'n3', 'demo', 'README.md']),
  )
})

test('compose.yaml names only services, volumes and files that are there', () => {
  const files = new Set(readdirSync(join(root, 'docker')).map((file) => `./${file}`))
  for (const { volumes, depends_on = {} } of Object.values(compose.services)) {
    for (const volume of volumes) {
      const [from = ''] = volume.split(':')
      expect(Object.hasOwn(compose.volumes, from) || files.has(from), volume).toBe(true)
    }
    for (const name of Object.keys(depends_on)) expect(compose.services).toHaveProperty(name)
  }
  const ports = Object.values(compose.services).flatMap((service) => service.ports ?? [])
  expect(new Set(ports.map((port) => port.split(':')[0])).size).toBe(3)
})

test('the demo service is a stack, published where compose.yaml leads to', () => {
  const demo = load({ file: 'demo.yaml', text: read('demo.yaml') }, { env: {}, folder: '/' })
  const specs = [...serviceSpecs('demo', mergeFiles([demo]).compose).values()]
  expect(specs.map(({ EndpointSpec }) => EndpointSpec?.Ports?.[0]?.PublishedPort)).toEqual([8080])
})

test('the stages and arguments that compose.yaml asks for are in the Dockerfile', () => {
  const { build }: { readonly build: { readonly target: string; readonly args: Readonly<Record<string, string>> } } =
    parseYaml(read('compose.yaml'))['x-agent']
  expect(dockerfile).toContain(` AS ${build.target}\n`)
  for (const argument of Object.keys(build.args)) expect(dockerfile).toMatch(new RegExp(`^ARG ${argument}=`, 'm'))
})

test('systemd ends the agent alone, and gives it no mounts of its own', () => {
  const settings = Object.fromEntries(unit)
  expect(settings).toMatchObject({ KillMode: 'process', OOMPolicy: 'continue', RestartPreventExitStatus: '3' })
  expect(settings).toMatchObject({ RuntimeDirectory: 'grapevine', StateDirectory: 'grapevine' })
  const mounting =
    /^(Private|Protect|ReadOnly|ReadWrite|Inaccessible|Bind|Temporary|Root|MountFlags|NoExec|DynamicUser)/
  expect(unit.map(([key]) => key).filter((key) => mounting.test(key))).toEqual([])
  expect(settings).not.toHaveProperty('MemoryDenyWriteExecute')
})
