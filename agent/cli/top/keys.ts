/** What a key does to the reader's choice. Pure; 'quit' ends top. */
import type { Picture } from './model.ts'
import type { Choice } from './render.ts'

export function press(key: string, choice: Choice, { sections }: Pick<Picture, 'sections'>): Choice | 'quit' {
  const focused = sections[choice.focus]
  const column = choice.sort[choice.focus] ?? 0
  const sortBy = (step: number): Choice => {
    const count = Math.max(focused?.columns.length ?? 1, 1)
    return { ...choice, sort: choice.sort.with(choice.focus, (column + step + count) % count), scroll: 0 }
  }
  switch (key) {
    case 'q':
    case 'Q':
    case '\u0003':
      return 'quit'
    case '\t':
      return { ...choice, focus: (choice.focus + 1) % Math.max(sections.length, 1), scroll: 0 }
    case '\u001b[C':
    case '\u001bOC':
      return sortBy(1)
    case '\u001b[D':
    case '\u001bOD':
      return sortBy(-1)
    case '\u001b[A':
    case '\u001bOA':
      return { ...choice, scroll: Math.max(choice.scroll - 1, 0) }
    case '\u001b[B':
    case '\u001bOB':
      return { ...choice, scroll: Math.min(choice.scroll + 1, Math.max((focused?.rows.length ?? 1) - 1, 0)) }
    case '?':
    case 'h':
      return { ...choice, help: !choice.help }
    default:
      return choice
  }
}

/** Keys in what a terminal sent at once: arrows are three characters that begin with escape. */
export function keysOf(input: string): readonly string[] {
  const keys: string[] = []
  for (let at = 0; at < input.length; ) {
    const arrow = input[at] === '\u001b' && (input[at + 1] === '[' || input[at + 1] === 'O')
    keys.push(input.slice(at, at + (arrow ? 3 : 1)))
    at += arrow ? 3 : 1
  }
  return keys
}
