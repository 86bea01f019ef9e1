// The PostgreSQL inside of PGlite, spoken to in its wire protocol.

import { fatal, message, messages, ownStatement, query } from './pglite_protocol.mjs'

export const LOG = '/pglite/data/pg_wal'
const LONGJMP = 100 // how it leaves a statement that failed

export class Backend {
  constructor(db) {
    this.db = db
    this.module = db.Module
    this.client = null
    const read = this.module.addFunction((to, length) => this.read(to, length), 'ipi')
    const write = this.module.addFunction((from, length) => this.write(from, length), 'ipi')
    this.module._pgl_set_rw_cbs(read, write)
  }

  // Execute complete messages and return the answer; what was answered before a COPY waited for
  // its data has been sent to the client.
  execute(input, client = null) {
    this.input = input
    this.position = 0
    this.output = []
    this.client = client
    this.copying = false
    try {
      if (input[0] === 0) this.start()
      else this.loop()
    } finally {
      this.client = null
    }
    return Buffer.concat(this.output)
  }

  start() {
    const port = this.module._pgl_getMyProcPort()
    if (this.module._ProcessStartupPacket(port, true, true) !== 0)
      throw new Error('PGlite refuses the startup packet')
    this.module._pgl_sendConnData()
    this.module._pgl_pq_flush()
  }

  loop() {
    try {
      while (this.position < this.input.length || this.module._pq_buffer_remaining_data() > 0) {
        const stack = this.module.stackSave()
        try {
          this.module._PostgresMainLoopOnce()
        } catch (error) {
          if (error.status !== LONGJMP) throw error
          this.module.stackRestore(stack)
          this.module._PostgresMainLongJmp()
        }
      }
    } finally {
      this.module._PostgresSendReadyForQueryIfNecessary()
      this.module._pgl_pq_flush()
    }
  }

  read(to, length) {
    if (this.position >= this.input.length) {
      if (!this.isCopying()) return 0
      this.input = this.client.receiveData()
      this.position = 0
    }
    const part = this.input.subarray(this.position, this.position + length)
    this.module.HEAPU8.set(part, to)
    this.position += part.length
    return part.length
  }

  // Whether it reads more because COPY FROM STDIN waits for its data, which the client sends when
  // it has been told so.
  isCopying() {
    const answer = Buffer.concat(this.output.splice(0))
    this.copying ||= messages(answer).at(-1)?.[0] === 'G'
    if (this.copying && this.client) this.client.send(answer)
    else this.output.push(answer)
    return this.copying && this.client !== null
  }

  write(from, length) {
    this.output.push(Buffer.from(this.module.HEAPU8.subarray(from, from + length)))
    return length
  }

  // What PostgreSQL's handler of the signal to cancel a statement does: wake it up, too.
  cancel() {
    const { HEAPU8, _QueryCancelPending, _InterruptPending, _MyLatch } = this.module
    const latch = new DataView(HEAPU8.buffer).getUint32(_MyLatch, true)
    for (const flag of [_QueryCancelPending, _InterruptPending, latch]) HEAPU8[flag] = 1
  }

  // Take it back if the statement was done before it noticed.
  uncancel() {
    this.module.HEAPU8[this.module._QueryCancelPending] = 0
  }

  // Set what a client asked for when it connected; return the error, if there was one.
  configure(settings) {
    for (const setting of settings) {
      const [name, value] = setting.map((text) => `'${text.replaceAll("'", "''")}'`)
      const answer = this.execute(query(`SELECT set_config(${name}, ${value}, false)`))
      const error = messages(answer).find(([kind]) => kind === 'E')
      if (error) {
        const fields = error[1].toString().split('\0')
        const field = (kind) => fields.find((text) => text.startsWith(kind)).slice(1)
        return fatal(field('C'), field('M'))
      }
    }
    return null
  }

  // Take back what statements left behind, in the log and in tables, when it is a lot: in a single
  // process nothing else does. To be called between transactions.
  tidy() {
    if (this.module.FS.readdir(LOG).length < 20) return
    for (const sql of ['VACUUM', 'CHECKPOINT']) this.execute(ownStatement(sql))
  }

  // Forget the client that left: its unfinished statement, transaction and session.
  reset() {
    this.execute(message('S'))
    if (this.db.isInTransaction()) this.execute(query('ROLLBACK'))
    this.execute(query('SET SESSION AUTHORIZATION postgres')) // DISCARD ALL leaves it, in PGlite
    this.execute(query('DISCARD ALL'))
  }
}
