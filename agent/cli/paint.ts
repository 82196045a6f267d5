/**
 * Two colours with meaning: red needs you, yellow is being worked on. Only where a person looks, and never against NO_COLOR.
 */
import type { Screen } from './io.ts'

export type Colour = 'red' | 'yellow'

const codes: Readonly<Record<Colour, number>> = { red: 31, yellow: 33 }

export function paint(
  screen: Screen,
  env: Readonly<Record<string, string | undefined>>,
  colour: Colour,
  text: string,
): string {
  return colourful(screen, env) ? tint(colour, text) : text
}

/** no-color.org: any value that is not empty means no colour. */
export function colourful(screen: Screen, env: Readonly<Record<string, string | undefined>>): boolean {
  return screen.isTTY && !env.NO_COLOR && env.TERM !== 'dumb'
}

export function tint(colour: Colour, text: string): string {
  return `\u001b[${codes[colour]}m${text}\u001b[39m`
}
