/** `vine stack config`: the files merged and filled in, as one file. No agent is asked. */
import { stringify } from 'yaml'
import { type Call, on } from '../definition.ts'
import { readCompose } from './read.ts'

export async function config(call: Call): Promise<number> {
  const { compose } = await readCompose(call, { skipInterpolation: on(call.options, 'skipInterpolation') })
  const { version = '3.13', services = {}, networks, volumes, secrets, configs, ...extras } = compose
  const sections = Object.entries({ networks, volumes, secrets, configs }).filter(
    ([, section]) => section !== undefined && Object.keys(section).length > 0,
  )
  const file = { version, services, ...Object.fromEntries(sections), ...extras }
  // Words that YAML 1.1 takes for truths are quoted, and the version as Docker's reader wants it: no number.
  call.io.out.write(stringify(file, { lineWidth: 0, compat: 'yaml-1.1', aliasDuplicateObjects: false }))
  return 0
}
