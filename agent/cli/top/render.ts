/**
 * Draws `vine top`: (picture, what the reader chose, size) -> exactly as many lines as there are rows, none wider than the screen.
 *
 * Pure. Colour adds nothing that the words do not say. The verdict comes first, the keys last; the lists share what lies between, and
 * a list that is cut says how many rows it has.
 */

import { tint } from '../paint.ts'
import { cut, width } from '../table.ts'
import { naturalCompare } from '../wording.ts'
import type { Picture, Row, Section } from './model.ts'

export interface Choice {
  /** Index of the list that keys act on. */
  readonly focus: number
  /** For each list the column it is sorted by. */
  readonly sort: readonly number[]
  /** Rows of the list in focus that are scrolled away. */
  readonly scroll: number
  readonly help: boolean
}

export interface Size {
  readonly columns: number
  readonly rows: number
  readonly colour: boolean
}

export const firstChoice: Choice = { focus: 1, sort: [0, 0, 0], scroll: 0, help: false }

export function render(picture: Picture, choice: Choice, size: Size): readonly string[] {
  const head = [...verdictLines(picture, size), trafficLine(picture)]
  const foot = 'q quit   tab next list   ←→ sort   ↑↓ scroll   ? keys'
  const room = Math.max(size.rows - head.length - 1, 0)
  const body = choice.help ? helpLines : bodyLines(picture, choice, size, room)
  const filled = [...body, ...Array<string>(Math.max(room - body.length, 0)).fill('')].slice(0, room)
  return [...head, ...filled, foot].slice(-size.rows).map((line) => clip(line, size.columns))
}

/** Up to three sentences; the first line alone when all is well. */
function verdictLines({ verdict }: Picture, size: Size): readonly string[] {
  const most = size.rows >= 24 ? 3 : 1
  const shown = verdict.problems.slice(0, most)
  const more = verdict.problems.length - shown.length
  const lines = verdict.well ? [verdict.summary] : shown
  return lines.map((line, i) => {
    const hint = more > 0 && i === lines.length - 1 ? ` (+${more}: vine status)` : ''
    const text = cut(line, Math.max(size.columns - width(hint), 1)) + hint
    return size.colour && !verdict.well ? tint('red', text) : text
  })
}

function trafficLine({ total, open }: Picture): string {
  return `Through this node: ${rate(total.connections)} connections/s, ${bytes(total.bytes)}/s, ${rate(total.failures)} failures/s, ${open} open`
}

function bodyLines({ sections, changes, atMs }: Picture, choice: Choice, size: Size, room: number): readonly string[] {
  const blocks = [...sections.map((section, i) => sectionBlock(section, choice, i)), changeBlock(changes, atMs)]
  const heights = share(
    room - blocks.length,
    blocks.map((block) => block.lines.length),
    choice.focus,
  )
  const spare = room - blocks.length - heights.reduce((sum, height) => sum + height, 0)
  const airy = spare >= blocks.length
  return blocks.flatMap(({ heading, lines, scroll }, i) => {
    const height = heights[i] ?? 0
    const from = Math.min(scroll, Math.max(lines.length - height, 0))
    const count = lines.length > height ? `${heading}   (${from + 1}-${from + height} of ${lines.length})` : heading
    const shown = lines.slice(from, from + height)
    return [
      ...(airy ? [''] : []),
      count,
      ...shown.map(({ text, mark }) => (size.colour && mark ? tint(mark, cut(text, size.columns)) : text)),
    ]
  })
}

interface Block {
  readonly heading: string
  readonly lines: readonly { readonly text: string; readonly mark?: Row['mark'] }[]
  readonly scroll: number
}

function sectionBlock(section: Section, choice: Choice, index: number): Block {
  const by = Math.min(choice.sort[index] ?? 0, section.columns.length - 1)
  const rows = section.rows.toSorted((a, b) => compare(a, b, by) || compare(a, b, 0))
  const texts = rows.map((row) => row.cells.map((cell, column) => cellText(section.columns[column] ?? '', cell)))
  const headings = section.columns.map((name, column) => (column === by && choice.focus === index ? `${name}↓` : name))
  const widths = headings.map(
    (name, column) => Math.max(width(name), ...texts.map((row) => width(row[column] ?? ''))) + 2,
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell + ' '.repeat(Math.max((widths[i] ?? 0) - width(cell), 0)))
      .join('')
      .trimEnd()
  return {
    heading: `${choice.focus === index ? '>' : ' '} ${line(headings)}`,
    lines: rows.map(({ mark }, i) => ({ text: `  ${line(texts[i] ?? [])}`, mark })),
    scroll: choice.focus === index ? choice.scroll : 0,
  }
}

function changeBlock(changes: Picture['changes'], now: number): Block {
  return {
    heading: '  CHANGED IN THE LAST MINUTE',
    lines:
      changes.length === 0
        ? [{ text: '  nothing' }]
        : changes.map(({ atMs, sentence }) => ({
            text: `  ${String(Math.max(Math.round((now - atMs) / 1000), 0)).padStart(2)} s ago  ${sentence}`,
          })),
    scroll: 0,
  }
}

/** Numbers from high to low, texts from low to high. */
function compare(a: Row, b: Row, column: number): number {
  const [x = '', y = ''] = [a.cells[column], b.cells[column]]
  return typeof x === 'number' && typeof y === 'number' ? y - x : naturalCompare(String(x), String(y))
}

function cellText(column: string, cell: string | number): string {
  if (typeof cell === 'string') return column === 'ERROR' ? cell.replaceAll(/\s+/g, ' ') : cell
  if (column === 'BYTES/S') return bytes(cell)
  return column.endsWith('/S') ? rate(cell) : String(cell)
}

/** Gives each list the lines it needs while there are any, a line at a time in turn, the list in focus first. */
function share(lines: number, needs: readonly number[], focus: number): readonly number[] {
  const given = needs.map(() => 0)
  const turn = [focus, ...[...needs.keys()].filter((i) => i !== focus)]
  for (let left = lines; left > 0; ) {
    const hungry = turn.filter((i) => (given[i] ?? 0) < (needs[i] ?? 0))
    if (hungry.length === 0) break
    for (const i of hungry.slice(0, left)) given[i] = (given[i] ?? 0) + 1
    left -= Math.min(hungry.length, left)
  }
  return given
}

function rate(value: number): string {
  return value >= 10 || value === 0 ? String(Math.round(value)) : value.toFixed(1)
}

/** kB and MB of 1000, as network rates are told. */
function bytes(value: number): string {
  if (value < 1000) return `${Math.round(value)} B`
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} kB`
  return value < 1e9 ? `${(value / 1e6).toFixed(1)} MB` : `${(value / 1e9).toFixed(1)} GB`
}

const helpLines: readonly string[] = [
  '',
  '  q, Ctrl-C     quit',
  '  tab           next list: nodes, services, tasks',
  '  left, right   sort the list by another column; ↓ marks it',
  '  up, down      scroll the list marked by >',
  '  ?             these keys, and back',
  '',
  '  Connections, bytes and failures are those that enter the cluster through this node, a second.',
  '  Red needs you, yellow is being worked on.',
]

/** Cuts to the width; a tinted line was cut before and is left alone. */
function clip(line: string, columns: number): string {
  return line.includes('\u001b') ? line : cut(line, columns)
}
