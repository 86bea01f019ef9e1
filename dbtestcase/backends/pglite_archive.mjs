// PGlite's data directory in a tar archive. What PGlite has for that takes several times as long.

import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { promisify } from 'node:util'
import { gunzip, gzipSync } from 'node:zlib'

const DATA = '/pglite/data'
const BLOCK = 512
const FILE = '0'
const DIRECTORY = '5'

// Write the files of a data directory, compressed if the name of the archive ends in .gz; it is
// there when it is complete.
export function writeArchive(archive, FS) {
  const unfinished = `${archive}.${randomUUID()}`
  const data = Buffer.concat([...entries(FS, ''), Buffer.alloc(2 * BLOCK)])
  try {
    const written = archive.endsWith('.gz') ? gzipSync(data, { level: 1 }) : data
    fs.writeFileSync(unfinished, written, { mode: 0o600 })
    fs.renameSync(unfinished, archive)
  } finally {
    fs.rmSync(unfinished, { force: true })
  }
}

function* entries(FS, directory) {
  for (const name of FS.readdir(DATA + directory)) {
    if (name === '.' || name === '..') continue
    const path = `${directory}/${name}`
    if (FS.isDir(FS.stat(DATA + path).mode)) {
      yield header(path, DIRECTORY, 0)
      yield* entries(FS, path)
    } else {
      const data = FS.readFile(DATA + path)
      yield header(path, FILE, data.length)
      yield data
      yield Buffer.alloc(padded(data.length) - data.length)
    }
  }
}

function header(path, type, size) {
  const block = Buffer.alloc(BLOCK)
  const sum = () => block.reduce((total, byte) => total + byte, 0)
  for (const [at, text] of [
    [0, path.slice(1)],
    [100, type === DIRECTORY ? '0000700' : '0000600'],
    [124, size.toString(8).padStart(11, '0')],
    [148, '        '], // the checksum, while it is computed
    [156, type],
    [257, 'ustar\x0000'],
  ])
    block.write(text, at)
  block.write(`${sum().toString(8).padStart(6, '0')}\0`, 148)
  return block
}

const padded = (size) => Math.ceil(size / BLOCK) * BLOCK

// Return what is in an archive, for restore(). Another thread does the work.
export async function readArchive(archive) {
  const data = await fs.promises.readFile(archive)
  return archive.endsWith('.gz') ? promisify(gunzip)(data) : data
}

// Write it to where PostgreSQL looks for its data directory.
export function restore(data, FS) {
  FS.mkdirTree(DATA)
  for (let at = 0; data[at]; ) {
    const text = (from, length) => data.toString('latin1', at + from, at + from + length)
    const path = `${DATA}/${text(0, 100).split('\0', 1)[0]}`
    const size = parseInt(text(124, 11), 8)
    const isDirectory = text(156, 1) === DIRECTORY
    at += BLOCK
    if (isDirectory) FS.mkdirTree(path)
    else FS.writeFile(path, data.subarray(at, at + size), { canOwn: true })
    at += padded(size)
  }
  if (!FS.analyzePath(`${DATA}/PG_VERSION`).exists) throw new Error('this is no data directory')
}
