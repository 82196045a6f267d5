/**
 * The image of sandboxes, made here so that no registry is needed: one file, `/pause`, that sleeps for ever and so holds a network namespace, as in
 * Kubernetes. A static ELF program of one segment (elf(5)), and the tar archive (POSIX ustar) that Docker imports. Pure.
 */
import { assert } from '../../fault.ts'

/** Changes with the bytes, so that an engine which has another keeps it apart. */
export const pauseImage = 'grapevine/pause:1'

/** Docker's words for machines -> e_machine of elf.h, and the code. */
const machines: Readonly<Record<string, { readonly elf: number; readonly code: readonly number[] }>> = {
  // again: mov eax, 34 (pause); syscall; jmp again
  amd64: { elf: 62, code: [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7] },
  // again: mov x0..x3, 0; mov x8, 73 (ppoll, for there is no pause); svc 0; b again
  arm64: {
    elf: 183,
    code: [0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800928, 0xd4000001, 0x17fffffa].flatMap((word) => [
      word & 0xff,
      (word >>> 8) & 0xff,
      (word >>> 16) & 0xff,
      word >>> 24,
    ]),
  },
}

const headerBytes = 64
const segmentBytes = 56
/** Where programs are loaded by custom; the page size of a kernel of arm64 may be 64 KB. */
const base = 0x400000n
const pageBytes = 0x10000n

/** Undefined for a machine that we have no code for. `arch`: as Docker says it (GOARCH), or as uname does. */
export function pauseProgram(arch: string): Buffer | undefined {
  const machine = machines[{ x86_64: 'amd64', aarch64: 'arm64' }[arch] ?? arch]
  if (machine === undefined) return undefined
  const start = headerBytes + segmentBytes
  const bytes = Buffer.alloc(start + machine.code.length)
  // 64 bits, little-endian, version 1.
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  bytes.writeUInt16LE(2, 16) // e_type: executable
  bytes.writeUInt16LE(machine.elf, 18)
  bytes.writeUInt32LE(1, 20)
  bytes.writeBigUInt64LE(base + BigInt(start), 24) // e_entry
  bytes.writeBigUInt64LE(BigInt(headerBytes), 32) // e_phoff
  bytes.writeUInt16LE(headerBytes, 52)
  bytes.writeUInt16LE(segmentBytes, 54)
  bytes.writeUInt16LE(1, 56) // e_phnum
  bytes.writeUInt32LE(1, 64) // p_type: load
  bytes.writeUInt32LE(5, 68) // p_flags: read, execute
  bytes.writeBigUInt64LE(base, 80) // p_vaddr
  bytes.writeBigUInt64LE(base, 88) // p_paddr
  bytes.writeBigUInt64LE(BigInt(bytes.length), 96) // p_filesz
  bytes.writeBigUInt64LE(BigInt(bytes.length), 104) // p_memsz
  bytes.writeBigUInt64LE(pageBytes, 112) // p_align
  bytes.set(machine.code, start)
  return bytes
}

const blockBytes = 512

/** An archive of one executable file. */
export function archiveOf(name: string, content: Buffer): Buffer {
  assert(name.length < 100, 'a name fits into the field of an archive')
  const header = Buffer.alloc(blockBytes)
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`
  header.write(name, 0)
  header.write(octal(0o755, 7), 100)
  header.write(octal(0, 7), 108)
  header.write(octal(0, 7), 116)
  header.write(octal(content.length, 11), 124)
  header.write(octal(0, 11), 136)
  header.write(' '.repeat(8), 148)
  header.write('0', 156)
  header.write('ustar\x0000', 257, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${octal(sum, 6)} `, 148)
  const padding = Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes)
  // Two empty blocks end it.
  return Buffer.concat([header, content, padding, Buffer.alloc(2 * blockBytes)])
}
