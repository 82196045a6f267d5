// Held to its word: the bench excuses a failed request only for its own flow on what was lost, open before it was lost.
import { describe, expect, test } from 'vitest'
import { type FlowLog, judge } from '../../bench/web.ts'

const lost = { node: 'n4' }
/** The fault: 50,000 ms of the bench's clock, 1,000,000 of the wall's. */
const moment = { atMs: 50_000, wallMs: 1_000_000 }
const asked = { via: 'n5', client: '127.0.0.1:47288', startedMs: 49_880, tookMs: 2_250, error: 'read ECONNRESET' }

function log(
  ...flows: readonly { readonly node: string; readonly pickedMs: number; readonly cause: string }[]
): FlowLog {
  const ended = flows.map((flow) => ({ client: asked.client, task: 'web.1', openedMs: flow.pickedMs + 1, ...flow }))
  return { open: [], ended, failed: [] }
}

describe('a failed request', () => {
  test('is excused when its flow was open on the lost before the fault', () => {
    expect(judge(asked, log({ node: 'n4', pickedMs: 999_881, cause: 'node-lost' }), lost, moment).excused).toBe(true)
  })

  test('is not excused on a node that lives, nor when the lost was picked after the fault', () => {
    expect(judge(asked, log({ node: 'n3', pickedMs: 999_881, cause: 'reset' }), lost, moment).excused).toBe(false)
    const late = { ...asked, startedMs: 50_010 }
    expect(judge(late, log({ node: 'n4', pickedMs: 1_000_011, cause: 'node-lost' }), lost, moment).excused).toBe(false)
  })

  test("is not taken for an earlier one from the same client's port", () => {
    const earlier = { node: 'n3', pickedMs: 995_874, cause: 'finished' }
    expect(judge(asked, log(earlier), lost, moment).why).toBe('its flow never opened')
    const own = { node: 'n4', pickedMs: 999_881, cause: 'node-lost' }
    expect(judge(asked, log(earlier, own), lost, moment).excused).toBe(true)
  })
})
