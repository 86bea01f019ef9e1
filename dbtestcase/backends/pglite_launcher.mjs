// Runs PGlite for dbtestcase. It is started as one of
//   node pglite_launcher.mjs snapshot <packages> <file>
//   node pglite_launcher.mjs serve <packages> <file> <socket> [<extension module>=<name> ...]
// The first makes a data directory and writes it to a file; the second serves a copy of it, in
// memory, on a Unix socket, to one client at a time. When a file called "save" is beside the socket
// as a transaction ends, it writes what has become of the data directory to the file named there.

import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { readArchive, restore, writeArchive } from './pglite_archive.mjs'
import { Backend, LOG } from './pglite_backend.mjs'
import { Client } from './pglite_client.mjs'
import { CLIENT } from './pglite_protocol.mjs'

const [mode, packages, file, socketPath, ...extensions] = process.argv.slice(2)
const load = (module) => import(pathToFileURL(`${packages}/${module}`))

// Leave out what takes time to load and is of no use here: databases that nobody can connect to,
// and log files made ahead.
async function makeSnapshot() {
  const db = await PGlite.create({ initDbStartParams: ['--wal-segsize=1', '--no-sync'] })
  await db.exec('UPDATE pg_database SET datistemplate = false')
  for (const name of ['template0', 'template1']) await db.exec(`DROP DATABASE ${name}`)
  await db.exec('CHECKPOINT')
  const used = 'SELECT redo_wal_file, pg_walfile_name(pg_current_wal_lsn()) FROM pg_control_checkpoint()'
  const { rows } = await db.query(used, [], { rowMode: 'array' })
  for (const name of db.Module.FS.readdir(LOG))
    if (name.length === 24 && !rows[0].includes(name)) db.Module.FS.unlink(`${LOG}/${name}`)
  writeArchive(file, db.Module.FS)
  process.exit(0)
}

// Do what the file says that orders it; all that is to be saved has been written to tables.
function save(order) {
  try {
    writeArchive(fs.readFileSync(order).toString(), backend.module.FS)
  } catch (error) {
    fs.writeFileSync(`${order}.error`, error.message)
  }
}

async function loadedExtensions() {
  const found = {}
  for (const extension of extensions) {
    const [module, name] = extension.split('=')
    found[name] = (await load(module))[name]
  }
  return found
}

// Serve one client after the other, and never return.
function serve() {
  const order = path.join(path.dirname(socketPath), 'save')
  for (;;) {
    Atomics.wait(shared, CLIENT, 0)
    const client = new Client(shared[CLIENT] - 1, backend, shared)
    globalThis.cancel = (statement) => client.cancel(statement) // called by the other thread
    globalThis.cancelIfGone = (statement) => client.cancelIfGone(statement)
    client.serve(() => fs.existsSync(order) && save(order))
    Atomics.store(shared, CLIENT, 0)
    door.postMessage('left')
  }
}

// Clients may come while PGlite boots.
const shared = new Int32Array(new SharedArrayBuffer(8))
const door =
  mode === 'serve' &&
  new Worker(new URL('pglite_door.mjs', import.meta.url), { workerData: { shared, socketPath } })
const data = mode === 'serve' && readArchive(file)
const { PGlite, MemoryFS } = await load('@electric-sql/pglite/dist/index.js')

if (mode === 'snapshot') await makeSnapshot()
const parameters = { shared_buffers: '16MB', wal_level: 'minimal', max_wal_senders: '0' }
Object.assign(parameters, { full_page_writes: 'off', min_wal_size: '2MB', max_wal_size: '4MB' })
const startParams = [...PGlite.defaultStartParams]
for (const [name, value] of Object.entries(parameters)) startParams.push('-c', `${name}=${value}`)
class ArchivedFS extends MemoryFS {
  async initialSyncFs() {
    restore(await data, this.pg.Module.FS)
  }
}
const options = { fs: new ArchivedFS(), extensions: await loadedExtensions(), startParams }
const backend = new Backend(await PGlite.create(options))
serve()
