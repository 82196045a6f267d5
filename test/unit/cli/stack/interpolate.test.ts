// Variables in Compose files, and the words of commands.
import { expect, test } from 'vitest'
import { BadTemplate, substitute } from '../../../../agent/cli/stack/compose/interpolate.ts'
import { shellWords } from '../../../../agent/cli/stack/compose/shell-words.ts'
import { composed } from './compose.ts'

const env = { SET: 'set', EMPTY: '', A1: 'a' }

test.each([
  ['plain', 'plain'],
  ['$SET', 'set'],
  ['${SET}', 'set'],
  ['a${SET}b$A1-', 'asetba-'],
  ['${NONE}$NONE', ''],
  ['$$SET and $${SET}', '$SET and ${SET}'],
  ['${SET:-d}', 'set'],
  ['${EMPTY:-d}', 'd'],
  ['${EMPTY-d}', ''],
  ['${NONE-d}', 'd'],
  ['${NONE:-}', ''],
  ['${NONE:-a:-b?c}', 'a:-b?c'],
  ['${SET:+r}', 'r'],
  ['${EMPTY:+r}', ''],
  ['${EMPTY+r}', 'r'],
  ['${NONE+r}', ''],
  ['${SET:?e}', 'set'],
  ['${EMPTY?e}', ''],
  ['${NONE:-${SET}}', 'set'],
  ['${NONE:-${ALSO_NONE:-$SET}}!', 'set!'],
])('%s becomes %s', (text, wanted) => {
  expect(substitute(text, env)).toBe(wanted)
})

test.each(['$', 'cost: 5$', '${', '${}', '${SET', '${1}', '$1', '${SET!x}', '${SET:x}', '${ SET }'])(
  '%s is refused',
  (text) => {
    expect(() => substitute(text, env)).toThrow(BadTemplate)
  },
)

test.each([
  ['${EMPTY:?give it}', 'EMPTY is missing a value: give it'],
  ['${NONE?}', 'NONE is missing a value: '],
  ['${NONE:?see $SET}', 'NONE is missing a value: see set'],
])('%s says what is missing', (text, sentence) => {
  expect(() => substitute(text, env)).toThrow(sentence)
})

test('a variable that cannot be filled in is told with file, line and path', () => {
  expect(() => composed(['services:\n  web:\n    image: "${TAG:?which one}"'])).toThrow(
    'a.yaml:3: invalid interpolation format for services.web.image: "required variable TAG is missing a value: which one"; you may need to escape any $ with another $',
  )
})

test('numbers and truths may come from variables, keys may not', () => {
  const text = 'services: {web: {image: n, tty: "${T}", deploy: {replicas: "${N}"}, labels: {$N: "$N"}}}'
  expect(composed([text], { env: { N: '3', T: 'yes' } }).compose.services?.web).toMatchObject({
    tty: true,
    deploy: { replicas: 3 },
    labels: { $N: '3' },
  })
})

test.each([
  ['a  b\tc\n', ['a', 'b', 'c']],
  [`a 'b "c' "d 'e"`, ['a', 'b "c', "d 'e"]],
  ['a\\ b "c\\"d" "e\\x" \'f\\x\'', ['a b', 'c"d', 'ex', 'f\\x']],
  [`'' "" x"y"z`, ['', '', 'xyz']],
  ['a # all of this\nb#c', ['a', 'b#c']],
  ['', []],
])('the command %j has the words %j', (text, words) => {
  expect(shellWords(text)).toEqual(words)
})

test.each([`a 'b`, 'a "b', 'a "b\\"', 'a \\'])('the command %j has no end', (text) => {
  expect(shellWords(text)).toContain('EOF found')
})
