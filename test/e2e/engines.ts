/**
 * Docker engines for tests: one on a machine of test/e2e/machines.ts, with its own disk, processes, network and groups of processes, so that it ends with
 * the machine. No registry is reached from there: its one image is made of the busybox of this machine.
 */
import Docker from 'dockerode'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import type { Machine } from './machines.ts'

export interface TestEngine {
  readonly docker: Docker
  /** SIGKILL to the engine; containers are left as they are. */
  kill(): Promise<void>
  start(): Promise<void>
  /** SIGSTOP and SIGCONT. */
  hang(): Promise<void>
  goOn(): Promise<void>
  /** Names of containers, running or not, sorted. */
  containers(): Promise<readonly string[]>
}

/** As in the host: each hierarchy where version 1 has it, or the one of version 2 (cgroups(7)). */
const groups = `
  mount -t cgroup2 groups /sys/fs/cgroup
  if grep -q ':[a-z]' /proc/self/cgroup; then
    umount /sys/fs/cgroup && mount -t tmpfs groups /sys/fs/cgroup
    cut -d: -f2 /proc/self/cgroup | grep . | while read -r names; do
      folder=/sys/fs/cgroup/\${names#name=} && mkdir -p $folder
      case $names in name=*) names=none,$names ;; esac
      mount -t cgroup -o $names groups $folder
    done
  fi`

/** The busybox of this machine and, since a static one resolves no names, its curl, with libraries. The second image brings a health check. */
const image = `
  mkdir -p /run/image/bin /run/image/etc /run/image/tmp && cd /run/image
  cp $(command -v busybox) $(command -v curl) bin/
  for file in $(ldd bin/busybox bin/curl 2>/dev/null | grep -o '/[^ ]*'); do [ -e .$file ] || { mkdir -p .$(dirname $file) && cp $file .$file; }; done
  for name in $(bin/busybox --list); do [ -e bin/$name ] || ln -s busybox bin/$name; done
  echo root:x:0:0::/:/bin/sh > etc/passwd && echo root:x:0: > etc/group
  import() { tar -c . | curl -fsS --unix-socket /run/docker.sock -X POST -T - "http://docker/images/create?fromSrc=-&$1" >/dev/null; }
  import 'repo=box&tag=1'
  import 'repo=checked&tag=1&changes=HEALTHCHECK%20--interval%3D200ms%20--retries%3D1%20CMD%20test%20-e%20%2Ftmp%2Fwell'`

/** `flags`: of dockerd, beside those that keep it to its machine. */
export async function startEngine(machine: Machine, flags = ''): Promise<TestEngine> {
  for (const tool of ['dockerd', 'iptables', 'curl', 'busybox']) needs(tool)
  const said: string[] = []
  const docker = new Docker({ socketPath: `${machine.root}/run/docker.sock` })

  async function start(): Promise<void> {
    const options =
      '--data-root /var/lib/docker --exec-root /run/docker --pidfile /run/docker.pid -H unix:///run/docker.sock'
    // With a shell between: nsenter(1) stops itself when its own child is stopped, and nobody would wake it to bury that child.
    machine.begin(`sh -c 'dockerd ${options} ${flags} 2>&1; exit $?'`, (line) => said.push(line))
    await until(() => docker.ping(), { deadlineMs: 20_000, what: `Docker to answer on ${machine.name}` }).catch(
      (error) => {
        throw new Error(`${error.message}; it said: ${said.slice(-5).join('\n')}`)
      },
    )
  }

  await machine.ok(groups)
  await start()
  await machine.ok(image)
  return {
    docker,
    start,
    hang: async () => void (await machine.ok('kill -STOP $(cat /run/docker.pid)')),
    goOn: async () => void (await machine.ok('kill -CONT $(cat /run/docker.pid)')),
    async kill() {
      await machine.ok('kill -KILL $(cat /run/docker.pid); rm -f /run/docker.pid')
      await until(
        () =>
          docker.ping().then(
            () => false,
            () => true,
          ),
        { deadlineMs: 5_000, what: 'Docker to be gone' },
      )
    },
    async containers() {
      const all = await docker.listContainers({ all: true })
      return all.map(({ Names }) => (Names[0] ?? '').slice(1)).sort()
    },
  }
}
