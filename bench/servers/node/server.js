// Node's server.
//
//	node server.js ADDRESS echo|sink
const net = require('net')
const [address, mode] = process.argv.slice(2)
const server = net.createServer({ noDelay: true }, c => {
  c.on('error', () => {})
  if (mode === 'echo') c.on('data', b => c.write(b))
  else c.resume()
})
const at = address.startsWith('/') ? { path: address } : { host: '127.0.0.1', port: Number(address) }
server.listen({ ...at, backlog: 4096 }, () => console.log('ready'))
