/** A node silent, 5 nodes, 10 times: SIGSTOP to agent and tasks at once, thawed when the others have replaced it. */
import { atMost, type Figure } from './figure.ts'
import { loseNodes, slowest } from './loss.ts'
import { requestsRow } from './requests.ts'

export const silent: Figure = {
  name: 'silent',
  title: 'A node frozen with its tasks, 5 nodes, 10 times (slowest survivor of each). A real Swarm: 6.2 s and 13.8 s',
  tools: [],
  async measure(say) {
    const losses = await loseNodes({ how: 'freeze', rounds: 10, say })
    const { rounds } = losses
    const row = (what: string, mark: 'pickedMs' | 'droppedMs' | 'replacedMs', most: number) =>
      atMost({ what, values: rounds.map((round) => slowest(round, mark)), unit: 'ms', most: { 0.95: most } })
    return {
      raw: losses,
      rows: [
        row('new connections avoid it', 'pickedMs', 1_200),
        row('out of DNS', 'droppedMs', 3_000),
        row('replacement running', 'replacedMs', 4_000),
        requestsRow(
          losses.requests,
          rounds.flatMap(({ failures }) => failures),
        ),
      ],
    }
  },
}
