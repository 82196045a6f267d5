// Runs the pure part of `vine stack`: Compose files in, the API's bodies out.
import { serviceSpecs } from '../../../../agent/cli/stack/compose/convert.ts'
import { withExternalNames } from '../../../../agent/cli/stack/compose/externals.ts'
import { load, withEnvironment } from '../../../../agent/cli/stack/compose/load.ts'
import { type Merged, mergeFiles } from '../../../../agent/cli/stack/compose/merge.ts'
import { networksOf } from '../../../../agent/cli/stack/compose/networks.ts'

export interface Given {
  readonly env?: Readonly<Record<string, string>>
  /** Content of `env_file`s by absolute path; relative ones lie in /stack. */
  readonly files?: Readonly<Record<string, string>>
}

/** Texts of files a.yaml, b.yaml, …, merged. */
export function composed(texts: readonly string[], { env = {}, files = {} }: Given = {}): Merged {
  const loaded = texts.map((text, index) => load({ file: `${'abc'[index]}.yaml`, text }, { env, folder: '/stack' }))
  const { compose, ignored } = mergeFiles(
    loaded.map((file) => withEnvironment(file, new Map(Object.entries(files)), env)),
  )
  return { compose: withExternalNames(compose), ignored }
}

/** What stack `s` asks the API for. */
export function converted(texts: readonly string[], given?: Given) {
  const { compose } = composed(texts, given)
  return { services: [...serviceSpecs('s', compose).values()], ...networksOf('s', compose) }
}

/** The body of the only service, of YAML in the flow style that stands for it. */
export function specOf(service: string, rest = '', given?: Given) {
  const [spec] = converted([`services: {web: {image: node, ${service}}}\n${rest}`], given).services
  if (spec === undefined) throw new Error('there is no service')
  return spec
}
