// What the threads and PostgreSQL say to each other.

// Two numbers that both threads see: who is to be served, as a file descriptor counted from 1; and
// one that is odd while a statement is executed for a client, and never the same again.
export const CLIENT = 0
export const STATEMENT = 1

// Codes in place of a protocol version.
export const CANCEL = 80877102
export const ENCRYPTION = [80877103, 80877104]

export const TERMINATE = 'X'.charCodeAt(0)

export function message(kind, ...parts) {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const head = Buffer.alloc(5)
  head.write(kind)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const query = (sql) => message('Q', `${sql}\0`)

export const fatal = (code, text) =>
  message('E', 'SFATAL\0', 'VFATAL\0', `C${code}\0`, `M${text}\0`, '\0')

// Return messages that execute a statement and leave the client's own prepared ones alone.
export function ownStatement(sql) {
  const name = '_dbtestcase\0'
  return Buffer.concat([
    message('P', name, `${sql}\0\0\0`),
    message('B', name, name, '\0\0\0\0\0\0'),
    message('E', name, '\0\0\0\0'),
    message('C', 'S', name),
    message('S'),
  ])
}

// Return the messages in a server's answer, each as [kind, body].
export function messages(answer) {
  const found = []
  for (let at = 0; at < answer.length; ) {
    const end = at + 1 + answer.readInt32BE(at + 1)
    found.push([String.fromCharCode(answer[at]), answer.subarray(at + 5, end)])
    at = end
  }
  return found
}

// Return the settings in a startup message, as [name, value], the role last.
export function settings(parameters) {
  const found = []
  for (const [name, value] of parameters) {
    if (name === 'options') found.push(...options(value))
    else if (!['user', 'database', 'replication'].includes(name) && !name.startsWith('_pq_.'))
      found.push([name, value])
  }
  const user = parameters.get('user')
  return user === 'postgres' ? found : [...found, ['session_authorization', user]]
}

// Return the settings in '-c name=value --name=value', where a backslash protects a space.
function options(text) {
  return (text.match(/(\\.|[^\\\s])+/gs) ?? [])
    .map((word) => word.replace(/\\(.)/gs, '$1').replace(/^(-c|--)/, ''))
    .filter((word) => word.includes('='))
    .map((word) => [word.split('=', 1)[0].replaceAll('-', '_'), word.slice(word.indexOf('=') + 1)])
}
