/**
 * Splits a command that is written as one text, as Docker's reader of Compose files does (google/shlex): blanks part words, both kinds of quotes hold
 * them together, a backslash takes the next character as it is, even between double quotes, and # begins a comment. Pure.
 */

/** The words; a string says what is wrong. */
export function shellWords(text: string): readonly string[] | string {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let index = 0; index < text.length; index++) {
    const c = text[index] ?? ''
    if (quote === "'" || (quote !== '' && c === quote)) {
      if (c === quote) quote = ''
      else word = (word ?? '') + c
    } else if (c === '\\') {
      if (index + 1 === text.length) return 'EOF found after escape character'
      word = (word ?? '') + text[++index]
    } else if (quote !== '') word = (word ?? '') + c
    else if (c === '"' || c === "'") {
      quote = c
      word ??= ''
    } else if (/[ \t\r\n]/.test(c)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (c === '#' && word === undefined) {
      const end = text.indexOf('\n', index)
      index = end < 0 ? text.length : end
    } else word = (word ?? '') + c
  }
  if (quote !== '') return 'EOF found when expecting closing quote'
  return word === undefined ? words : [...words, word]
}
