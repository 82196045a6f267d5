/** Docker's pairs `--x-add` and `--x-rm` of `service update`. */
import type { OptionDefinition } from '../definition.ts'

/** `by` is what the value of `--x-rm` names; 'value' is the whole of it. */
export function addAndRemove(word: string, what: string, by = 'value'): readonly OptionDefinition[] {
  const removed = by === 'value' ? `Remove a ${what}` : `Remove a ${what} by its ${by}`
  return [
    { flags: `--${word}-add <value>`, says: `Add or update ${/^[aeiou]/.test(what) ? 'an' : 'a'} ${what}`, list: true },
    { flags: `--${word}-rm <${by}>`, says: removed.replace(/ a (?=[aeiou])/, ' an '), list: true },
  ]
}
