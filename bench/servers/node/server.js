// Server node is Node.js's net. What it pushes is corked in batches, which is Node's way to gather writes.
//
//     node server.js unix:PATH|tcp:HOST:PORT echo|sink|push|close
'use strict';

const net = require('net');

const [, , address, mode] = process.argv;
const message = Buffer.alloc(64, 'one message of the stream');
const batch = 1024;

function push(socket, left) {
  while (left > 0) {
    socket.cork();
    let room = true;
    for (let i = 0; i < batch && left > 0; i++, left--) room = socket.write(message);
    socket.uncork();
    if (!room && left > 0) {
      socket.once('drain', () => push(socket, left));
      return;
    }
  }
}

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  switch (mode) {
    case 'echo':
      socket.on('data', (bytes) => socket.write(bytes));
      break;
    case 'sink':
      socket.resume();
      break;
    case 'push':
      socket.on('data', (bytes) => push(socket, Number(bytes.readBigUInt64LE())));
      break;
    case 'close':
      socket.destroy();
      break;
    default:
      throw new Error('the mode is echo, sink, push or close');
  }
});

const where = address.startsWith('unix:')
  ? { path: address.slice(5) }
  : { host: address.slice(4, address.lastIndexOf(':')), port: Number(address.slice(address.lastIndexOf(':') + 1)) };
server.listen({ ...where, backlog: 65535 }, () => console.log('ready'));
