// A data directory that forgets what was not written in time: a crash keeps, loses or tears what was under way; a full disk refuses; and
// an older state can be put back, or copied to another machine.
import { fault } from '../../../agent/fault.ts'
import type { Disk } from '../../../agent/world.ts'
import type { Chance } from './chance.ts'
import type { Process } from './process.ts'
import type { SimTime } from './time.ts'

/** What was appended, piece by piece. */
type Content = readonly Uint8Array[]
export type DiskImage = ReadonlyMap<string, Content>

export interface SimDisk {
  /** The disk as one agent sees it. */
  openFor(process: Process): Disk
  full: boolean
  /** Each write takes so many times as long. */
  slowness: number
  bytes(): number
  image(): DiskImage
  /** What an installation puts there, outside of any agent. */
  put(name: string, bytes: Uint8Array): void
  restore(image: DiskImage): void
  keepOnly(keep: (name: string) => boolean): void
  /** What becomes of writes under way: all on the disk, none, or each as chance has it, an append perhaps in part. */
  crash(writes: 'kept' | 'lost' | 'torn'): void
}

interface Pending {
  readonly name: string
  readonly isAppend: boolean
  apply(): void
  tear(): void
  done: boolean
}

/** An fsync on an SSD. */
const [fsyncMinMs, fsyncMaxMs] = [0.2, 4]

export function createDisk(time: SimTime, chance: Chance): SimDisk {
  let files = new Map<string, Content>()
  let pending: Pending[] = []

  function openFor(process: Process): Disk {
    function later<T>(act: () => T): Promise<T> {
      return new Promise((resolve, reject) => {
        time.after(chance.between(fsyncMinMs, fsyncMaxMs) * disk.slowness, () => {
          if (process.state() === 'ended') return
          try {
            const value = act()
            process.enter(() => resolve(value))
          } catch (error) {
            process.enter(() => reject(error))
          }
        })
      })
    }

    function change(name: string, isAppend: boolean, bytes: Uint8Array): Promise<void> {
      const copy = Uint8Array.from(bytes)
      const write: Pending = {
        name,
        isAppend,
        done: false,
        apply: () => void files.set(name, isAppend ? grown(files.get(name), copy) : [copy]),
        tear() {
          if (isAppend) files.set(name, grown(files.get(name), copy.subarray(0, chance.integer(0, copy.length - 1))))
        },
      }
      if (process.state() === 'ended') return new Promise(() => {})
      pending.push(write)
      return later(() => {
        if (write.done) return
        write.done = true
        pending = pending.filter((other) => other !== write)
        if (disk.full) {
          // An append that met the end of the space has put part of itself on the disk.
          write.tear()
          throw fault('unavailable', `Cannot write ${name}: ENOSPC: no space left on device`, 'Free space on the disk')
        }
        write.apply()
      })
    }

    return {
      read: (name) => later(() => whole(files.get(name))),
      write: (name, bytes) => change(name, false, bytes),
      append: (name, bytes) => change(name, true, bytes),
      setAside: (name) =>
        later(() => {
          const bytes = files.get(name)
          const aside = `${name}.broken-${[...files.keys()].filter((k) => k.startsWith(`${name}.broken`)).length + 1}`
          if (bytes !== undefined) files.set(aside, bytes)
          files.delete(name)
          return aside
        }),
      remove: (name) => later(() => void files.delete(name)),
    }
  }

  const disk: SimDisk = {
    openFor,
    full: false,
    slowness: 1,
    bytes: () => [...files.values()].flat().reduce((sum, { length }) => sum + length, 0),
    image: () => new Map(files),
    put: (name, bytes) => void files.set(name, [Uint8Array.from(bytes)]),
    restore(image) {
      files = new Map(image)
    },
    keepOnly(keep) {
      for (const name of [...files.keys()]) if (!keep(name)) files.delete(name)
    },
    crash(writes) {
      for (const write of pending) {
        write.done = true
        const fate = writes === 'torn' ? chance.pick(['kept', 'lost', 'torn'] as const) : writes
        if (fate === 'kept') write.apply()
        else if (fate === 'torn') write.tear()
        // What follows a write that was lost is lost too: the file ends there.
        if (fate !== 'kept') break
      }
      for (const write of pending) write.done = true
      pending = []
    },
  }
  return disk
}

/** 64 KB: many small appends share a piece. */
const pieceBytes = 65_536
/** How far each piece is written. */
const written = new WeakMap<ArrayBufferLike, number>()

/** The bytes go behind what is there, where no other continuation of the same content has put its own: images share their pieces. */
function grown(content: Content | undefined, bytes: Uint8Array): Content {
  const last = content?.at(-1)
  const end = last?.length ?? 0
  if (last !== undefined && written.get(last.buffer) === end && end + bytes.length <= last.buffer.byteLength) {
    new Uint8Array(last.buffer).set(bytes, end)
    written.set(last.buffer, end + bytes.length)
    return [...(content ?? []).slice(0, -1), new Uint8Array(last.buffer, 0, end + bytes.length)]
  }
  const piece = new Uint8Array(Math.max(pieceBytes, bytes.length))
  piece.set(bytes)
  written.set(piece.buffer, bytes.length)
  return [...(content ?? []), piece.subarray(0, bytes.length)]
}

function whole(content: Content | undefined): Uint8Array | undefined {
  return content === undefined ? undefined : new Uint8Array(Buffer.concat(content))
}
