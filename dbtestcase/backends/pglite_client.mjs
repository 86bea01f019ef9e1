// The client that PGlite serves, as PostgreSQL would: by reading and writing that block.

import fs from 'node:fs'
import { ENCRYPTION, fatal, message, settings, STATEMENT, TERMINATE } from './pglite_protocol.mjs'

const IDLE = Buffer.from('Z\0\0\0\x05I') // ends an answer after which no transaction is open
const GONE = message('f', 'the client is gone\0') // COPY fails
const incoming = Buffer.alloc(1 << 16)
const pause = new Int32Array(new SharedArrayBuffer(4))

export class Client {
  constructor(descriptor, backend, shared) {
    this.descriptor = descriptor
    this.backend = backend
    this.shared = shared
    this.unread = Buffer.alloc(0)
  }

  // Return when the client has left. Before it hears of the end of a transaction, `save` is called,
  // which seldom has anything to do.
  serve(save) {
    const startup = this.introduce()
    if (startup && this.begin(startup))
      for (let input; (input = this.receive()); ) {
        const answer = this.execute(input)
        const idle = answer.subarray(-IDLE.length).equals(IDLE)
        if (idle) save()
        this.send(answer)
        if (idle) this.backend.tidy()
      }
    this.backend.reset()
  }

  execute(input) {
    Atomics.add(this.shared, STATEMENT, 1)
    const answer = this.backend.execute(input, this)
    Atomics.add(this.shared, STATEMENT, 1)
    this.backend.uncancel()
    return answer
  }

  // Interrupt a statement, if it is still the one that is executed.
  cancel(statement) {
    if (this.shared[STATEMENT] === statement) this.backend.cancel()
  }

  // The same if the client has left; what it said is kept. Its descriptor does not block.
  cancelIfGone(statement) {
    if (this.shared[STATEMENT] !== statement) return
    try {
      for (let read; (read = fs.readSync(this.descriptor, incoming)); )
        this.unread = Buffer.concat([this.unread, incoming.subarray(0, read)])
    } catch (error) {
      if (error.code === 'EAGAIN') return
    }
    this.backend.cancel()
  }

  // Return the startup message, which requests for encryption may precede; null if there is none.
  introduce() {
    while (this.fill(8) && this.fill(this.unread.readInt32BE(0))) {
      const version = this.unread.readInt32BE(4)
      const [startup, rest] = split(this.unread, Math.max(8, this.unread.readInt32BE(0)))
      this.unread = rest
      if (version >> 16 === 3) return startup
      if (!ENCRYPTION.includes(version)) return null // to cancel a statement; there is none
      this.send(Buffer.from('N'))
    }
    return null
  }

  begin(startup) {
    const words = startup.subarray(8).toString().split('\0')
    const parameters = new Map()
    for (let i = 0; i + 1 < words.length && words[i]; i += 2) parameters.set(words[i], words[i + 1])
    const database = parameters.get('database') ?? parameters.get('user')
    const refusal =
      database === 'postgres'
        ? this.backend.configure(settings(parameters))
        : fatal('3D000', `database "${database}" does not exist; PGlite has one, "postgres"`)
    this.send(refusal ?? this.backend.execute(startup))
    return refusal === null
  }

  // Return complete messages, or null when the client leaves.
  receive() {
    for (;;) {
      let end = 0
      let needed = 5
      while (this.unread.length >= end + 5 && this.unread[end] !== TERMINATE) {
        needed = 1 + this.unread.readInt32BE(end + 1)
        if (this.unread.length < end + needed) break
        end += needed
        needed = 5
      }
      if (end > 0) {
        const [complete, rest] = split(this.unread, end)
        this.unread = rest
        return complete
      }
      if (this.unread[0] === TERMINATE || !this.fill(needed)) return null
    }
  }

  // Return what COPY FROM STDIN waits for, while it does.
  receiveData() {
    Atomics.add(this.shared, STATEMENT, 1) // nothing to interrupt
    const data = this.receive() ?? GONE
    Atomics.add(this.shared, STATEMENT, 1)
    return data
  }

  // Read until so many bytes are there; return false if the client is gone.
  fill(needed) {
    const chunks = [this.unread]
    for (let size = this.unread.length; size < needed; size += chunks.at(-1).length) {
      const read = attempt(() => fs.readSync(this.descriptor, incoming))
      if (read === 0) return false
      chunks.push(Buffer.from(incoming.subarray(0, read)))
    }
    if (chunks.length > 1) this.unread = Buffer.concat(chunks)
    return true
  }

  send(data) {
    for (let at = 0, written = 1; at < data.length && written > 0; at += written)
      written = attempt(() => fs.writeSync(this.descriptor, data, at))
  }
}

const split = (data, at) => [data.subarray(0, at), data.subarray(at)]

// Return what an operation on a descriptor returns; 0 if the other side is gone. It may be that it
// does not block for a moment.
function attempt(operation) {
  for (;; Atomics.wait(pause, 0, 0, 1)) {
    try {
      return operation()
    } catch (error) {
      if (error.code !== 'EAGAIN') return 0
    }
  }
}
