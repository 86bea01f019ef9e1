// The thread that listens at PGlite's socket. It lets in one client at a time, for the main thread
// to serve, which sees nothing else meanwhile: so it is this thread that refuses all others, and
// interrupts a statement.

import fs from 'node:fs'
import net from 'node:net'
import { inspect } from 'node:util'
import { parentPort, workerData } from 'node:worker_threads'
import { CANCEL, CLIENT, ENCRYPTION, fatal, STATEMENT } from './pglite_protocol.mjs'

const GRACE = 50 // milliseconds in which a client that is closing may give way to the next
const BUSY =
  'PGlite serves one connection at a time, and another is open. To use several at once, ' +
  'write database = "pgserver://"; within one, use isolation = "transaction"'

const { shared, socketPath } = workerData
const waiting = new Set()
let inside = null
let probing = false

function knock(socket) {
  socket.on('error', () => {}) // it has left
  if (inside === null) {
    admit(socket)
    return
  }
  const statement = Atomics.load(shared, STATEMENT) | 1 // the next, if it has just been sent
  waiting.add(socket)
  setTimeout(() => waiting.has(socket) && probe(statement), GRACE / 2)
  setTimeout(() => waiting.delete(socket) && answer(socket, statement), GRACE)
}

// Nothing has been read from it here: from now on the main thread reads and writes, and blocks.
function admit(socket) {
  inside = socket
  socket._handle.setBlocking(true) // there is no public way to it, nor to the descriptor
  Atomics.store(shared, CLIENT, socket._handle.fd + 1)
  Atomics.notify(shared, CLIENT)
}

function leave() {
  inside.destroy()
  inside = null
  const [next] = waiting
  if (waiting.delete(next)) admit(next)
}

// Refuse a client that has waited, or do what it is there for, if that is to cancel a statement.
function answer(socket, statement) {
  let said = Buffer.alloc(0)
  socket.on('data', (data) => {
    said = Buffer.concat([said, data])
    while (socket.writable && said.length >= 8 && said.length >= said.readInt32BE(0)) {
      const request = said.readInt32BE(4)
      said = said.subarray(8)
      if (ENCRYPTION.includes(request)) {
        socket.write('N')
        continue
      }
      if (request === CANCEL) interrupt('cancel', statement)
      socket.end(request === CANCEL ? '' : fatal('53300', BUSY))
    }
  })
  socket.resume()
}

// End the statement of a client that is gone. Looking whether it is must not block.
function probe(statement) {
  if (probing) return
  const { _handle } = inside
  probing = true
  _handle.setBlocking(false)
  interrupt('cancelIfGone', statement, () => {
    if (inside?._handle === _handle) _handle.setBlocking(true)
    probing = false
  })
}

// Call a function in the main thread, even in the middle of a statement, if that is the one.
async function interrupt(name, statement, done = () => {}) {
  if (Atomics.load(shared, STATEMENT) !== statement) return done()
  const { Session } = await import('node:inspector')
  const session = new Session()
  session.connectToMainThread()
  session.post('Runtime.evaluate', { expression: `${name}(${statement})` }, () => {
    session.disconnect()
    done()
  })
}

process.on('uncaughtException', (error) => {
  fs.writeSync(2, `${inspect(error)}\n`)
  process.kill(process.pid, 'SIGKILL') // process.exit() would end this thread only
})
parentPort.on('message', leave)
net.createServer({ pauseOnConnect: true }, knock).listen(socketPath)
