// The text of a task's hosts file: its networks' names, and what the machine knows.
import { expect, test } from 'vitest'
import { hostsText } from '../../../agent/dataplane/userspace/hosts-files.ts'

const web = { name: 'web', address: '127.20.1.1' }

test("a task finds its networks' names first, then those of its machine", () => {
  const machine = '# ours\n127.0.0.1\tlocalhost\n192.0.2.9  db db.example # the old one\n\n'
  expect(hostsText([web], machine)).toBe('127.20.1.1 web\n127.0.0.1 localhost\n192.0.2.9 db db.example\n')
})

test('a name of a network hides the same name of the machine, and no other of its line', () => {
  expect(hostsText([web], '127.0.0.1 localhost\n192.0.2.9 web db\n192.0.2.8 web\n')).toBe(
    '127.20.1.1 web\n127.0.0.1 localhost\n192.0.2.9 db\n',
  )
})

test('localhost is known even where the machine has no file', () => {
  expect(hostsText([], '')).toBe('127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n')
})
