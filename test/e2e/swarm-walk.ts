/**
 * What is typed at a cluster of Grapevine and at a real Swarm, and in what the answers may differ, each with its reason: everything else is the same to
 * the letter, once ids, times, addresses and names of nodes are taken out.
 */

import { agentVersion } from '../../agent/start/self.ts'

/** What Swarm's answer would be here: a part of it, what stands in its place, and why. */
export type Instead = readonly [pattern: RegExp, text: string, reason: string]

export interface Step {
  /** After `docker`. `{node}` is a node's name, `{task}` the id of a task of web. */
  readonly words: string
  /** 'text': as above. 'shape': JSON, of which the fields are compared. 'set': lines in any order, each once, as three nodes say more than one. */
  readonly as: 'text' | 'shape' | 'set'
  readonly instead?: readonly Instead[]
  /** Waited for on both sides beforehand: all tasks of these services run, or one of them was refused. */
  readonly after?: 'converged' | 'refused'
}

const rollback: Instead = [/^RollbackConfig:\n( .*\n)+/m, '', 'options of a rollback have an issue of their own']
const leader: Instead = [
  /Leader {2}\S+/,
  `Reachable  ${agentVersion}`,
  "no node leads, and a node's version is its agent's",
]
const names: Instead = [/in use by service ID/, 'in use by service web', 'names say more than ids']
const named: Instead = [/network ID is/, 'network app is', 'names say more than ids']

const web = `--network app --replicas 2 --label tier=front --env A=b --stop-grace-period 1s box:1 sh -c 'echo begun; exec sleep 1000'`

export const steps: readonly Step[] = [
  { words: 'network create -d overlay --label tier=back app', as: 'text' },
  { words: 'network create -d overlay app', as: 'text' },
  { words: 'network ls --filter label=tier=back', as: 'text' },
  { words: 'network inspect app', as: 'shape' },
  { words: 'network inspect nope', as: 'text' },
  { words: `service create --name web ${web}`, as: 'text' },
  { words: 'service create --name web box:1', as: 'text' },
  { words: 'service ls', as: 'text' },
  { words: 'service ps web', as: 'text' },
  {
    words: "service ps --no-trunc --format '{{.Name}} {{.Image}} {{.DesiredState}} {{.Error}} {{.Ports}}' web",
    as: 'text',
  },
  { words: 'service inspect web', as: 'shape' },
  { words: 'service inspect --pretty web', as: 'text', instead: [rollback] },
  { words: 'service logs web', as: 'set' },
  { words: 'inspect {task}', as: 'shape' },
  { words: 'service update --detach=false --env-add A=c web', as: 'text' },
  { words: 'service ps --filter desired-state=shutdown web', as: 'text' },
  { words: 'service inspect --pretty web', as: 'text', instead: [rollback] },
  { words: 'service scale web=3', as: 'text' },
  { words: 'service scale nope=3', as: 'text' },
  { words: "service ls --filter name=web --format '{{json .}}'", as: 'text' },
  {
    words: 'service rollback web',
    as: 'text',
    instead: [
      [/^rollback: .*\n/gm, '', 'a rollback is an update to the spec before; its options have an issue of their own'],
    ],
  },
  {
    words: "service ls --format '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}} {{.Ports}}'",
    as: 'text',
    after: 'converged',
  },
  { words: 'service create -d --name all --mode global --stop-grace-period 1s box:1 sleep 1000', as: 'text' },
  { words: 'service scale all=2', as: 'text' },
  { words: 'service create -d --name bad --mode odd box:1', as: 'text' },
  { words: 'service create -d --name bad --network nope box:1', as: 'text' },
  {
    words: 'service create -d --name bad --constraint node.hostname box:1',
    as: 'text',
    instead: [[/==, !=$/m, '==, !=: "node.hostname"', 'which of several constraints it is']],
  },
  { words: 'service create -d --name bad --restart-max-attempts 1 localhost:1/none:1', as: 'text' },
  {
    words:
      "service ps --no-trunc --filter desired-state=shutdown --format '{{.Image}} {{.CurrentState}} {{.Error}}' bad",
    as: 'set',
    after: 'refused',
    instead: [
      [
        /No such image: (\S+)"$/m,
        'No such image: $1 (Get "http://localhost:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused)"',
        'with the reason',
      ],
    ],
  },
  { words: 'service rm bad', as: 'text' },
  ...['update --replicas 2', 'inspect', 'ps', 'logs', 'rm'].map((what): Step => {
    return { words: `service ${what} nope`, as: 'text' }
  }),
  { words: 'network rm app', as: 'text', instead: [names, named] },
  { words: 'node ls', as: 'set', instead: [leader] },
  { words: "node ls --filter role=manager --format '{{.Status}} {{.Availability}}'", as: 'set' },
  { words: 'node ps --filter name=all', as: 'set', after: 'converged' },
  {
    words: "ps --no-trunc --filter label=com.docker.swarm.service.name=all --format '{{.Image}} {{.Command}}'",
    as: 'set',
  },
  { words: 'node ps nope', as: 'text' },
  { words: 'node update --label-add rack=7 {node}', as: 'text' },
  { words: 'node inspect self', as: 'shape' },
  { words: "node inspect {node} --format '{{json .Spec}}'", as: 'text' },
  { words: "node ls --filter node.label=rack=7 --format '{{.Hostname}}'", as: 'text' },
  { words: 'node rm nope', as: 'text' },
  { words: 'stack deploy -c /run/compose.yaml shop', as: 'set' },
  { words: 'stack ls', as: 'text' },
  {
    words: 'stack services shop',
    as: 'text',
    after: 'converged',
    instead: [[/1\/1/, '3/3', 'there are three nodes']],
  },
  { words: 'stack ps shop', as: 'set' },
  { words: 'stack deploy -c /run/compose.yaml shop', as: 'set' },
  { words: 'stack ps nope', as: 'text' },
  { words: 'stack services nope', as: 'text' },
  { words: 'stack config -c /run/compose.yaml', as: 'text' },
  { words: 'stack rm shop', as: 'set' },
  { words: 'service rm web all', as: 'text' },
  { words: 'service ls', as: 'text' },
  { words: 'network rm app', as: 'text' },
  { words: "events --since 0 --until 0s --filter type=service --format '{{.Type}} {{.Action}}'", as: 'set' },
  { words: "info --format '{{json .Swarm}}'", as: 'shape' },
]

/** Fields of Swarm's answers that are absent here: Docker's clients take that for "not known". */
export const without: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/TLSInfo\./, 'there is no authority of managers: a node vouches for its own key'],
  [/Spec\.(Raft|Dispatcher|CAConfig)\.|ManagerStatus\.Leader$/, 'there is no raft, dispatcher, authority or leader'],
  [/ContainerSpec\.Isolation$/, 'Windows alone has kinds of isolation'],
  [/TaskTemplate\.Runtime$|Spec\.Runtime$/, 'there is one kind of task, and its absence says so'],
  [/RollbackConfig/, 'options of a rollback have an issue of their own'],
  [/vxlanid_list|DriverState/, 'the VXLAN id of a network follows from its id and is no option'],
]

/** Fields that later versions of Docker's API have, or that have a meaning here alone. */
export const more: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/^\[\]\.(EnableIPv4|Peers)$/, 'as later versions of Docker tell it'],
  [
    /Network\.Spec\.IPAMOptions\.Configs/,
    'the subnet of a network is chosen when it is made, and is part of its record',
  ],
  [/DriverState/, 'as above'],
  [/Spec\.Raft\./, "zeros of Docker's client"],
]

/** What is the same on both sides, whatever they call their nodes and whenever it was. */
export function normal(text: string): string {
  return (
    text
      .replaceAll(/^(overall progress|verify: Waiting|\d+\/\d+:).*\n/gm, '')
      // A machine that is busy with tests may take more than a second to hand a record on, and says so.
      .replaceAll(/^held by this node only\n/gm, '')
      .replaceAll(/(less than a second|about a minute|\d+ \w+) ago/gi, 'AGO')
      // An id may be letters alone: one of 25 is no word, and one of 12 is known by its place.
      .replaceAll(/\b[a-z0-9]{25}\b/g, 'ID')
      .replaceAll(/(?<=^|"ID":"|\.\d+\.)[a-z0-9]{12}(?=[ "@])/gm, 'ID')
      .replaceAll(/\bID \*/g, 'ID')
      .replaceAll(/\bn[1-4]\b/g, 'NODE')
      .replaceAll(/rpc error: code = \w+ desc = /g, '')
      .replaceAll(/(Starting|Preparing|Assigned|Ready) AGO/g, 'Running AGO')
      .replaceAll(/ {2,}/g, '  ')
      .replaceAll(/ +$/gm, '')
  )
}

export function asSet(text: string): string {
  return [...new Set(text.split('\n'))].sort().join('\n')
}
