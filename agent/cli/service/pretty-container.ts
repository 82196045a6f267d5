/** The part of `vine service inspect --pretty` that only containers have, as Docker's template prints it. Pure. */
import type { ContainerSpec, TaskTemplate } from '../../../protocol/spec.ts'

export function containerOnly({ ContainerSpec: spec, LogDriver: driver }: TaskTemplate): readonly string[] {
  return [
    ...capabilities(spec),
    ...section('SysCtls:', pairs(spec.Sysctls ?? {}, ' ', ': ')),
    ...section('Ulimits:', pairs(limits(spec), ' ', ': ')),
    ...section('Mounts:', mounts(spec)),
    ...(driver
      ? [
          'Log Driver:',
          ...(driver.Name ? [` Name:\t\t${driver.Name}`] : []),
          ...section(' LogOpts:', pairs(driver.Options ?? {}, '  ', ':       ')),
          '',
        ]
      : []),
  ]
}

function capabilities({ CapabilityAdd: add, CapabilityDrop: drop }: ContainerSpec): readonly string[] {
  return section('Capabilities:', [
    ...(add?.length ? [` Add: ${add.join(', ')}`] : []),
    ...(drop?.length ? [` Drop: ${drop.join(', ')}`] : []),
  ])
}

function limits({ Ulimits: ulimits }: ContainerSpec): Readonly<Record<string, string>> {
  return Object.fromEntries((ulimits ?? []).map(({ Name, Soft, Hard }) => [Name, `${Soft}:${Hard}`]))
}

function mounts({ Mounts: all }: ContainerSpec): readonly string[] {
  return (all ?? []).flatMap(({ Target, Source = '', ReadOnly, Type = '' }) => [
    ` Target:\t${Target}`,
    `  Source:\t${Source}`,
    `  ReadOnly:\t${ReadOnly === true}`,
    `  Type:\t\t${Type}`,
  ])
}

/** Docker's templates go through mappings in the order of their keys. */
function pairs(of: Readonly<Record<string, string>>, indent: string, between: string): readonly string[] {
  return Object.entries(of)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${indent}${key}${value === '' ? '' : `${between}${value}`}`)
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [title, ...lines]
}
