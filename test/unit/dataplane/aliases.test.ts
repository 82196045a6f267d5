// The book of loopback aliases: stable, unique, rested for an hour.
import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { AliasBook, type AliasTarget, claimBlock } from '../../../agent/dataplane/userspace/aliases.ts'

const target = (id: string): AliasTarget => ({ kind: 'service', network: 'n1', id })
const hour = 60 * 60 * 1_000

test('5,000 targets get 5,000 addresses of the block, none of them .0 or .255, the same at each run', () => {
  const book = new AliasBook(42)
  const addresses = Array.from({ length: 5_000 }, (_, i) => book.addressOf(target(`s${i}`)))
  expect(new Set(addresses).size).toBe(5_000)
  for (const address of addresses)
    expect(address).toMatch(/^127\.42\.([1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-4])\.(?!0$|255$)\d+$/)
  const again = new AliasBook(42)
  expect(again.addressOf(target('s0'))).toBe(addresses[0])
})

test("an address rests for an hour after its target has gone, and is nobody else's meanwhile", () => {
  const book = new AliasBook(42)
  const address = book.addressOf(target('a'))
  book.keep(() => false, 1_000)
  expect(book.targetOf(address)).toBe('unknown')
  book.keep(() => false, 1_000 + hour)
  expect(book.addressOf(target('a'))).toBe(address)
  book.keep(() => true, 2_000)
  expect(book.targetOf(address)).toEqual(target('a'))
  book.keep(() => false, 3_000)
  book.keep(() => false, 3_001 + hour)
  const others = Array.from({ length: 64_000 }, (_, i) => book.addressOf(target(`x${i}`)))
  expect(others).toContain(address)
})

test('two agents on a machine claim two blocks, and one that listens on every address is in the way of none', async () => {
  const everywhere = createServer()
  onTestFinished(() => void everywhere.close())
  // The mesh's port by default; a test that runs beside may have it.
  await new Promise<void>((resolve) => everywhere.once('error', () => resolve()).listen(7767, '0.0.0.0', resolve))
  const claims = [await claimBlock('n1'), await claimBlock('n1')]
  onTestFinished(() => claims.forEach(({ marker }) => void marker.close()))
  expect(claims[0]?.block).not.toBe(claims[1]?.block)
})
