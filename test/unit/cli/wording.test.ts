// Templates, times, tables and words.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../../agent/cli/duration.ts'
import { portsText } from '../../../agent/cli/service/ls.ts'
import { cut, layTable } from '../../../agent/cli/table.ts'
import { parseTemplate, renderTemplate } from '../../../agent/cli/template.ts'
import { ago, bytesText, humanDuration, naturalCompare, nodeState } from '../../../agent/cli/wording.ts'

describe('templates', () => {
  const data = {
    ID: 'x',
    Spec: { Name: 'web', Labels: { b: '2', a: '1' }, Env: ['A=1', 'B=2'], Count: 3, On: false },
    List: [{ N: 1 }, { N: 2 }],
  }

  test.each([
    ['{{.Spec.Name}}', 'web'],
    ['{{ .ID }}-{{.Spec.Count}}-{{.Spec.On}}', 'x-3-false'],
    ['{{json .Spec.Env}}', '["A=1","B=2"]'],
    ['{{len .List}}', '2'],
    ['{{range .List}}[{{.N}}]{{end}}', '[1][2]'],
    ['{{range .Spec.Env}}{{.}};{{end}}', 'A=1;B=2;'],
    ['a\\tb\\n', 'a\tb\n'],
    ['a {{- .ID -}} b', 'axb'],
    ['{{.Spec.Env}} {{.Spec.Labels}}', '[A=1 B=2] map[a:1 b:2]'],
    ['{{.Nope.Deeper}}', '<no value>'],
    ['{{json .Nope}}', 'null'],
    ['{{.constructor}}', '<no value>'],
  ])('%s', (template, text) => {
    expect(renderTemplate(parseTemplate(template), data)).toBe(text)
  })

  test.each([
    '{{if .X}}{{end}}',
    '{{.X | json}}',
    '{{printf "%s" .X}}',
    '{{range .X}}',
    '{{end}}',
    '{{.X',
    'x}}',
    '{{index .X 0}}',
    '{{}}',
    '{{.X y}}',
  ])('%s is refused with a pointer to --json', (template) => {
    expect(() => parseTemplate(template)).toThrow(expect.objectContaining({ fix: expect.stringContaining('--json') }))
  })
})

describe('times', () => {
  test.each([
    [0.4, 'Less than a second'],
    [1, '1 second'],
    [59, '59 seconds'],
    [60, 'About a minute'],
    [119, 'About a minute'],
    [3599, '59 minutes'],
    [3600, 'About an hour'],
    [47 * 3600, '47 hours'],
    [3 * 86_400, '3 days'],
    [20 * 86_400, '2 weeks'],
    [90 * 86_400, '3 months'],
    [3 * 365 * 86_400, '3 years'],
  ])('%d s reads "%s", as in Docker', (seconds, text) => {
    expect(humanDuration(seconds * 1000)).toBe(text)
  })

  test('a time in the future, from a clock ahead of ours, reads as now', () => {
    expect(ago('2026-01-01T00:00:10Z', Date.parse('2026-01-01T00:00:00Z'))).toBe('less than a second ago')
    expect(ago(undefined, 0)).toBe('')
  })

  test.each([
    ['1m30s', 90e9],
    ['500ms', 5e8],
    ['1h', 36e11],
    ['1.5s', 15e8],
    ['0', 0],
    ['2us', 2000],
  ])('%s is read as nanoseconds', (text, ns) => {
    expect(parseDuration('--x', text)).toBe(ns)
  })

  test.each(['5', '', 's', '1x', '1s2', '-1s', '1 s'])('"%s" is no time', (text) => {
    expect(() => parseDuration('--x', text)).toThrow('--x')
  })

  test('what is printed is read back the same', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1e7 }),
        (ms) => parseDuration('--x', formatDuration(ms * 1e6)) === ms * 1e6,
      ),
    )
  })
})

describe('tables and words', () => {
  test('columns are at least ten wide, three apart, and the last one is left alone', () => {
    expect(
      layTable([
        ['A', 'B', 'C'],
        ['longer than ten', 'b', ''],
      ]),
    ).toBe('A                 B         C\nlonger than ten   b         \n')
  })

  test('a cut text is never longer than asked, and tells that it was cut', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, size) => {
        const short = cut(text, size)
        return [...short].length <= size && (short === text || short.endsWith('…'))
      }),
    )
  })

  test('names with numbers sort as people count', () => {
    expect(['web.10', 'web.2', 'api.1', 'web.1', 'web'].sort(naturalCompare)).toEqual([
      'api.1',
      'web',
      'web.1',
      'web.2',
      'web.10',
    ])
  })

  test('naturalCompare() is an order', () => {
    const name = fc.stringMatching(/^[a-b0-2.]{0,5}$/)
    fc.assert(
      fc.property(name, name, name, (a, b, c) => {
        expect(Math.sign(naturalCompare(a, b))).toBe(-Math.sign(naturalCompare(b, a)) + 0)
        if (naturalCompare(a, b) <= 0 && naturalCompare(b, c) <= 0) expect(naturalCompare(a, c)).toBeLessThanOrEqual(0)
      }),
    )
  })

  test('neighbouring ports are drawn together', () => {
    const port = (published: number, target: number, protocol = 'tcp') => ({
      PublishedPort: published,
      TargetPort: target,
      Protocol: protocol,
    })
    expect(portsText([port(82, 92), port(80, 90), port(81, 91), port(81, 91, 'udp'), port(90, 1)])).toBe(
      '*:80-82->90-92/tcp, *:90->1/tcp, *:81->91/udp',
    )
  })

  test('node states are in our words', () => {
    expect([
      nodeState('ready'),
      nodeState('ready', 'suspect: it does not answer probes'),
      nodeState('down'),
      nodeState('down', 'it has left'),
    ]).toEqual(['Ready', 'Unreachable', 'Down', 'Left'])
  })

  test('memory is told in 1024s', () => {
    expect([bytesText(512), bytesText(1536), bytesText(4 * 1024 ** 3)]).toEqual(['512B', '1.5KiB', '4GiB'])
  })
})
