// When a service has converged, and what is shown until then.
import { describe, expect, test } from 'vitest'
import type { Task } from '../../../agent/cli/docker.ts'
import { progressOf } from '../../../agent/cli/service/progress-lines.ts'
import { lists, nodeId, task, watch, web } from './cluster.ts'
import { fakeAgent } from './fake-agent.ts'
import { vine } from './vine.ts'

const active = new Set([nodeId('n1'), nodeId('n2')])
const names = new Map([
  [nodeId('n1'), 'n1'],
  [nodeId('n2'), 'n2'],
])

function look(tasks: readonly Task[], service = web) {
  const { lines, converged } = progressOf({ service, tasks, active, names })
  return { converged, lines: lines.map(({ id, text }) => `${id}: ${text}`.trimEnd()) }
}

function slot(number: number, state: string, changes: Partial<Task> = {}): Task {
  return task(`t${number}${state}`, { Slot: number, Status: { State: state }, ...changes })
}

describe('progressOf()', () => {
  test('counts running tasks and shows the state of the others', () => {
    expect(look([slot(1, 'running'), slot(2, 'preparing')])).toEqual({
      converged: false,
      lines: ['overall progress: 1 out of 3 tasks', '1/3: running', '2/3: preparing', '3/3:'],
    })
  })

  test('is converged when every slot runs', () => {
    expect(look([slot(1, 'running'), slot(2, 'running'), slot(3, 'running')]).converged).toBe(true)
  })

  test('shows why a slot has no node', () => {
    const waiting = slot(2, 'pending', { Status: { State: 'pending', Err: 'no suitable node\nat all' } })
    expect(look([waiting]).lines).toContain('1/3: no suitable node at all')
  })

  test('a task on a node that is down does not count', () => {
    const lost = slot(3, 'running', { NodeID: nodeId('n10') })
    expect(look([slot(1, 'running'), slot(2, 'running'), lost]).converged).toBe(false)
  })

  test('in a slot the task that should run is shown, not the one that failed before', () => {
    const failed = slot(1, 'failed', { DesiredState: 'shutdown', Status: { State: 'failed', Err: 'it broke' } })
    expect(look([failed, slot(1, 'starting')]).lines[1]).toBe('1/3: starting')
  })

  test('a good end counts where no task follows it', () => {
    const ended = [1, 2, 3].map((n) => slot(n, 'complete', { DesiredState: 'shutdown' }))
    const TaskTemplate = { ...web.Spec.TaskTemplate, RestartPolicy: { Condition: 'none' as const } }
    expect(look(ended, { ...web, Spec: { ...web.Spec, TaskTemplate } }).converged).toBe(true)
    expect(look(ended).converged).toBe(false)
  })

  test('scaling down has converged when the surplus tasks are no longer wanted', () => {
    const all = [1, 2, 3, 4].map((n) => slot(n, 'running'))
    expect(look(all).converged).toBe(false)
    expect(look([...all.slice(0, 3), slot(4, 'running', { DesiredState: 'remove' })]).converged).toBe(true)
  })

  test('a global service is shown by node', () => {
    const on = (name: string, state: string) => task(name, { Slot: 0, NodeID: nodeId(name), Status: { State: state } })
    expect(look([], watch)).toEqual({ converged: false, lines: ['overall progress: waiting for new tasks'] })
    expect(look([on('n1', 'running'), on('n2', 'starting')], watch).lines).toEqual([
      'overall progress: 1 out of 2 tasks',
      'n1: running',
      'n2: starting',
    ])
  })

  test('above twenty tasks only the sum is shown', () => {
    const many = { ...web, Spec: { ...web.Spec, Mode: { Replicated: { Replicas: 21 } } } }
    expect(look([], many).lines).toEqual(['overall progress: 0 out of 21 tasks'])
  })
})

describe('waiting', () => {
  test('prints each change once where nobody looks, and ends when tasks have stayed up', async () => {
    let looks = 0
    let clock = 0
    const agent = await fakeAgent({
      ...lists,
      'GET /tasks': () => {
        looks++
        clock += 500
        const states = looks < 3 ? ['running', 'starting', 'starting'] : ['running', 'running', 'running']
        return { status: 200, body: states.map((state, i) => slot(i + 1, state)) }
      },
      [`POST /services/${web.ID}/update`]: () => ({ status: 200, body: {} }),
    })
    const { code, out } = await vine(['service', 'scale', 'web=3'], { socket: agent.socket, now: () => clock })
    await agent.close()
    expect(code).toBe(0)
    expect(out.split('\n')).toEqual([
      'web scaled to 3',
      'overall progress: 1 out of 3 tasks',
      '1/3: running',
      '2/3: starting',
      '3/3: starting',
      'overall progress: 3 out of 3 tasks',
      '2/3: running',
      '3/3: running',
      'verify: Waiting 2 seconds to verify that tasks are stable...',
      'verify: Waiting 1 seconds to verify that tasks are stable...',
      'verify: Service web converged',
      '',
    ])
  })
})
