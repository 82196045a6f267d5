// What a plan becomes on this host: program, environment, user, and the file that the shim reads.
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ambientOf, environmentOf, operatorPath } from '../../../agent/runtime/process/environment.ts'
import { parseRunning, signalNumber, signalOfStatus } from '../../../agent/runtime/process/proc.ts'
import { argvOf, missingSentence, programName } from '../../../agent/runtime/process/program.ts'
import { runScript } from '../../../agent/runtime/process/script.ts'
import { identityOf } from '../../../agent/runtime/process/user.ts'

describe('the program of a task', () => {
  test.each([
    ['busybox', 'busybox'],
    ['node:20', 'node'],
    ['docker.io/library/busybox:1.36@sha256:0123', 'busybox'],
    ['localhost:5000/tools/web', 'web'],
    ['/usr/bin/env', '/usr/bin/env'],
    ['registry.example/', ''],
  ])('image %s is program "%s"', (image, name) => {
    expect(programName(image)).toBe(name)
  })

  test('the command takes the place of the image, and the arguments follow', () => {
    const wish = { image: 'nothing', command: ['sh', '-e'], args: ['x'], dir: '/', path: '/bin' }
    expect(argvOf(wish)).toEqual(['/bin/sh', '-e', 'x'])
  })

  test('a relative program is looked up in the directory of the task, never a folder that is no program', () => {
    const wish = { image: 'nothing', command: ['./sh'], args: [], dir: '/bin', path: '' }
    expect(argvOf(wish)).toEqual(['/bin/sh'])
    expect(() => argvOf({ ...wish, command: ['/tmp'] })).toThrow('may not be run')
  })

  test('a missing program is told in a sentence', () => {
    expect(missingSentence('example/none:1', '/bin')).toBe("Program none is not on this node's PATH")
    expect(missingSentence('sh:5', '/bin')).toBeUndefined()
  })
})

describe('the environment of a task', () => {
  test('it is PATH, HOME, LANG, TZ of the node and the own of the plan, and nothing of the agent', () => {
    const ambient = ambientOf(
      { PATH: '/bin', LANG: 'de_DE.UTF-8', TZ: 'UTC', TOKEN: 'secret', NODE_OPTIONS: '-x' },
      undefined,
    )
    expect(environmentOf({ A: '1' }, '/home/u', ambient)).toEqual({
      ...{ PATH: '/bin', HOME: '/home/u', LANG: 'de_DE.UTF-8', TZ: 'UTC' },
      A: '1',
    })
    expect(environmentOf({ PATH: '/x', TZ: 'CET' }, '/', ambient)).toMatchObject({ PATH: '/x', TZ: 'CET' })
  })

  test('the PATH is the operator’s, without what npm put before it', () => {
    expect(operatorPath('/app/node_modules/.bin:/usr/lib/node-gyp-bin:.:/usr/bin:/bin')).toBe('/usr/bin:/bin')
    expect(operatorPath('')).toMatch(/^\/usr/)
  })

  test.each([
    ['', 'x'],
    ['A=B', 'x'],
    ['A', 'a\0b'],
  ])('the variable %j=%j is refused', (name, value) => {
    expect(() => environmentOf({ [name]: value }, '/', ambientOf({}, '/bin'))).toThrow(/environment/i)
  })
})

describe('the user of a task', () => {
  const accounts = {
    passwd: 'root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh',
    group: 'web:x:34:\nlog:x:4:web,x\nssl:x:7:web',
  }
  test.each([
    ['web', { uid: 33, gid: 34, groups: [4, 7], home: '/srv' }],
    ['33', { uid: 33, gid: 34, groups: [4, 7], home: '/srv' }],
    ['web:log', { uid: 33, gid: 4, groups: [], home: '/srv' }],
    ['1234', { uid: 1234, gid: 0, groups: [], home: '/' }],
    ['1234:56', { uid: 1234, gid: 56, groups: [], home: '/' }],
  ])('%s is found', (user, identity) => {
    expect(identityOf(user, accounts)).toEqual(identity)
  })

  test.each(['', ':', 'web:', 'a:b:c', 'nobody-here', 'web:none', '4294967295'])('%j is refused', (user) => {
    expect(() => identityOf(user, accounts)).toThrow(/User|Group/)
  })
})

describe('the run file', () => {
  const launch = { dir: '/', setsid: '/usr/bin/env', envTool: '/usr/bin/env', prefix: [] }
  /** What the kernel gave the program: its arguments and its environment, as /proc has them. Not by a Node each time, which takes 0.1 s. */
  const through = (env: Record<string, string>, args: readonly string[]) => {
    const words = ['/bin/sh', '-c', '/bin/cat "/proc/$$/cmdline" "/proc/$$/environ"', 'sh']
    const input = runScript({ ...launch, argv: [...words, ...args], env })
    const given = execFileSync('/bin/sh', { input, env: {}, encoding: 'utf8' }).split('\0').slice(words.length, -1)
    const variables = given.slice(args.length).map((variable) => {
      const at = variable.indexOf('=')
      return [variable.slice(0, at), variable.slice(at + 1)] as const
    })
    return [given.slice(0, args.length), Object.fromEntries(variables)]
  }
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom(...'\'"\\$`\n !*\u00c1\u0081\u0088'), fc.string({ minLength: 1, maxLength: 1 })),
  })
  const clean = text.map((value) => value.replaceAll('\0', ''))
  const name = fc.oneof(
    fc.constantFrom(
      'PWD',
      'OLDPWD',
      'SHLVL',
      '_',
      'IFS',
      'PS4',
      'UID',
      'RANDOM',
      'discovery.type',
      'a-b',
      'ENV',
      'PATH',
    ),
    fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,9}$/),
  )

  test('the program gets exactly the arguments and the environment of the plan, whatever they hold', () => {
    fc.assert(
      fc.property(fc.dictionary(name, clean, { noNullPrototype: true }), fc.array(clean), (env, args) => {
        expect(through(env, args)).toEqual([args, env])
      }),
      { numRuns: 50 },
    )
  })
})

describe('signals', () => {
  test.each([
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['SIGRTMIN+3', 37],
  ])('%s is %i', (signal, number) => {
    expect(signalNumber(signal)).toBe(number)
  })

  test.each(['', 'SIGNOPE', '0', '65', '-1', 'SIGRTMIN+99'])('%j is refused', (signal) => {
    expect(() => signalNumber(signal)).toThrow('not a signal')
  })

  test('a status above 128 tells the signal', () => {
    expect([143, 137, 128, 1, 255].map(signalOfStatus)).toEqual(['SIGTERM', 'SIGKILL', undefined, undefined, undefined])
  })
})

test('a line that no shim wrote names no process', () => {
  const boot = '01234567-89ab-cdef-0123-456789abcdef'
  expect(parseRunning(`12 34 11 ${boot}   \n`)).toEqual({ pid: 12, startTicks: 34, shim: 11, boot })
  for (const line of ['', '   ', '0 1 2 x', `1 34 11 ${boot}`, `-1 34 11 ${boot}`, `12 34 11`, '\0\0']) {
    expect(parseRunning(line)).toBeUndefined()
  }
})
